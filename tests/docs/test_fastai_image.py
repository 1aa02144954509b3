"""The fastai image, built by its own scripts and run by this computer's Docker."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.fastai import RECIPE, epochs_of

pytestmark = [pytest.mark.all, pytest.mark.machine, pytest.mark.timeout(1800)]

EPOCHS = 8
TRAIN = ("python", "/v1/train.py", "--epochs", str(EPOCHS))


def _docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {argv}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def _container(image: str, drive: Path, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    name = f"xportal-fastai-{uuid.uuid4().hex[:8]}"
    _docker("run", "--detach", "--init", "--name", name, "--volume", f"{drive}:/v1", *options, image, *command)
    try:
        yield name
    finally:
        _docker("rm", "--force", name)


def _log(container: str) -> str:
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True).stdout


def _wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 120) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A directory with the training script, which stands for the drive."""
    (tmp_path / "train.py").write_text((RECIPE / "train.py").read_text())
    return tmp_path


def test_the_image_has_fastai_and_a_torchvision_that_works(fastai_image: str) -> None:
    """fastai 2.8 or newer with all its parts; torchvision's compiled operators run beside this PyTorch."""
    program = """if True:
        import fastai, fastai.vision.all, fastai.text.all, fastai.collab, torch
        from torchvision.ops import nms
        assert nms(torch.tensor([[0., 0., 1., 1.]] * 2), torch.tensor([.9, .8]), .5).tolist() == [0]
        print(fastai.__version__)
    """
    version = _docker("run", "--rm", fastai_image, "python", "-c", program)
    assert tuple(int(part) for part in version.split(".")[:2]) >= (2, 8)


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_stopped_training_goes_on_from_its_checkpoint(fastai_image: str, drive: Path, signal: str) -> None:
    """No epoch is done twice, and the weights are those from before: the loss does not start again at the top."""
    with _container(fastai_image, drive, *TRAIN) as name:
        _wait_until(lambda: len(epochs_of(_log(name))) >= 4, "four epochs")
        _docker("kill", "--signal", signal, name)
        status = int(_docker("wait", name))
        first = _log(name)
        _docker("start", name)
        assert int(_docker("wait", name)) == 0
        second = _log(name).removeprefix(first)
    assert status == {"TERM": 143, "KILL": 137}[signal]
    assert first.startswith("starting from nothing")
    done = int(re.findall(r"^going on after epoch (\d+)$", second, flags=re.MULTILINE)[0])
    # The one epoch more was killed after its checkpoint and before its line in the log.
    assert done in (len(epochs_of(first)), len(epochs_of(first)) + (signal == "KILL"))
    assert done < EPOCHS
    assert epochs_of(second) == list(range(done + 1, EPOCHS + 1))
    assert _losses(second)[0] < _losses(first)[0] / 2


def test_a_finished_training_is_not_run_again(fastai_image: str, drive: Path) -> None:
    """Started once more, it says that all is done and ends."""
    command = ("run", "--rm", "--volume", f"{drive}:/v1", fastai_image, "python", "train.py", "--epochs", "1")
    assert epochs_of(_docker(*command)) == [1]
    again = _docker(*command)
    assert epochs_of(again) == []
    assert "done: 1 epochs" in again


def test_a_stop_in_the_first_epoch_loses_no_work(fastai_image: str, drive: Path) -> None:
    """SIGTERM long before the first epoch is over still leaves a checkpoint, from which training starts again."""
    with _container(fastai_image, drive, "python", "train.py", "--rows", "2000000") as name:
        _wait_until(lambda: "starting from nothing" in _log(name), "a start")
        _docker("stop", "--time", "60", name)
        assert "stopped in epoch 1, checkpoint written" in _log(name)
    assert [path.name for path in drive.glob("checkpoint*")] == ["checkpoint.pth"]


def test_jupyterlab_serves_the_drive_to_those_with_the_token(fastai_image: str, drive: Path) -> None:
    """Without a command the image is JupyterLab in /v1, closed to whoever lacks the token that its log names."""
    with _container(fastai_image, drive, options=("--publish", "127.0.0.1::8888")) as name:
        _wait_until(lambda: "token=" in _all_output(name), "a token")
        token = re.findall(r"token=([0-9a-f]+)", _all_output(name))[0]
        address = _docker("port", name, "8888/tcp").strip()
        url = f"http://{address}/api/contents"
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(url, timeout=10)
        refusal.value.close()
        with urllib.request.urlopen(f"{url}?token={token}", timeout=10) as answer:
            listing = answer.read().decode()
    assert refusal.value.code == 403
    assert '"train.py"' in listing


def _losses(log: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"valid_loss ([\d.]+)", log)]


def _all_output(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
