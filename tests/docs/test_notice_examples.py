"""The examples of docs/notice.md for training code, each as it stands there, in the fastai image."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.fastai import REPOSITORY

pytestmark = [pytest.mark.all, pytest.mark.machine, pytest.mark.timeout(1800)]

# What an example leaves to its reader.
PYTORCH = """
import itertools, time, torch
model = torch.nn.Linear(1, 1)
torch.nn.init.zeros_(model.weight)
batches = itertools.count()
def train_one_step(batch):
    with torch.no_grad():
        model.weight += 1
    print("step", int(model.weight), flush=True)
    time.sleep(0.01)
"""
FASTAI = """
import time, torch
import fastai.callback.schedule  # gives learners fit_one_cycle
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import MSELossFlat
data = [(torch.ones(1), torch.ones(1))] * 1000
def slowly(batch):
    print("batch", flush=True)
    time.sleep(0.01)
    return torch.stack([x for x, _ in batch]), torch.stack([y for _, y in batch])
loader = torch.utils.data.DataLoader(data, batch_size=1, collate_fn=slowly)
learn = Learner(DataLoaders(loader, loader), torch.nn.Linear(1, 1), loss_func=MSELossFlat(), path="/v1")
"""


def example(words: str) -> str:
    """The code of the example that begins with these words."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "notice.md").read_text(), flags=re.DOTALL)
    found: str
    [found] = [block for block in blocks if block.startswith(f"# {words}")]
    return found


@pytest.fixture
def start(fastai_image: str, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Run a script in a container whose /v1 is `tmp_path`; its name. All are removed."""
    names = []

    def run(script: str) -> str:
        names.append(f"xportal-notice-{uuid.uuid4().hex[:8]}")
        (tmp_path / "script.py").write_text(script)
        volume = f"{tmp_path}:/v1"
        argv = ["docker", "run", "-d", "--init", "--name", names[-1], "-v", volume, fastai_image]
        subprocess.run([*argv, "python", "/v1/script.py"], check=True, capture_output=True)
        return names[-1]

    yield run
    subprocess.run(["docker", "rm", "-f", *names], check=True, capture_output=True)


def log(container: str) -> str:
    """What it has printed."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def wait_for(container: str, word: str) -> None:
    """Until it has printed a word."""
    deadline = time.monotonic() + 120
    while word not in log(container):
        assert time.monotonic() < deadline, log(container)
        time.sleep(0.1)


def end_of(container: str) -> int:
    """Its exit status, once it has ended by itself."""
    done = subprocess.run(["docker", "wait", container], capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


def test_pytorch_checkpoints_at_sigterm_and_goes_on(start: Callable[[str], str], tmp_path: Path) -> None:
    """SIGTERM ends it after a whole step; the next run goes on with the step after that."""
    script = PYTORCH + example("PyTorch")
    first = start(script)
    wait_for(first, "step 20")
    subprocess.run(["docker", "stop", "--time", "60", first], check=True, capture_output=True)
    assert end_of(first) == 0, log(first)
    assert (tmp_path / "state.pt").exists()
    last = int(log(first).split()[-1])
    second = start(script)
    wait_for(second, f"step {last + 5}")
    assert log(second).splitlines()[0] == f"step {last + 1}"


def test_fastai_saves_when_the_notice_is_there(start: Callable[[str], str], tmp_path: Path) -> None:
    """The file ends the fit long before its ten epochs, with a model saved."""
    training = start(FASTAI + example("fastai"))
    wait_for(training, "batch")
    (tmp_path / "xportal-notice.json").write_text("{}")
    assert end_of(training) == 0, log(training)
    assert (tmp_path / "models" / "notice.pth").exists()
    assert log(training).count("batch") < 1000
