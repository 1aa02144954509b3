"""The main job: up, work, down, up elsewhere with a GPU, down, up without; nothing is lost, nothing is left.

Before it, the container commands as typed, on the main job's first machine.
"""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

DOCKERFILE = "FROM {image}\nENV GREETING=hello\nRUN echo built > /built\n"
TRAIN = Path(__file__).with_name("train.py")
FILES = {
    "layer": "exec demo train -- sha256sum /root/features",
    "anonymous volume": "exec demo train -- sha256sum /anonymous/note",
    "installed package": "exec demo train -- python3 -c import,hello;print(hello.WORD)",
    "drive": "ssh demo -- sha256sum /v1/train.py",
    "home": "ssh demo -- git -C project rev-parse HEAD",
}


@pytest.fixture(scope="module")
def first(user: User, python_image: str) -> Any:
    """The answer of the first `up`; the image is on its machine."""
    told = user.asks("up", "demo", "--cpu")
    user.types("push", "demo", python_image)
    return told


def make_wheel(path: Path) -> None:
    """A package of one module, by the wheel format (PEP 427)."""
    files = {
        "hello.py": "WORD = 'hello'\n",
        "hello-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1\n",
        "hello-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "hello-1.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in (files | {"hello-1.dist-info/RECORD": record}).items():
            wheel.writestr(name, text)


def facts(user: User) -> dict[str, str]:
    """What is in each place where people leave data."""
    told = {}
    for place, line in FILES.items():
        words = [word.replace(",", " ", 1) for word in line.split(" ")]
        told[place] = user.types(*words).stdout.split()[0]
    return told


def epoch(user: User) -> int:
    """What the checkpoint has reached."""
    done: int = json.loads(user.types("ssh", "demo", "--", "cat /v1/checkpoint.json").stdout)["epoch"]
    return done


def wait_for_epoch(user: User, more_than: int) -> int:
    """Wait until training has gone on."""
    deadline = time.monotonic() + 60
    while (reached := epoch(user)) <= more_than:
        assert time.monotonic() < deadline, f"training stays at epoch {reached}"
        time.sleep(0.5)
    return reached


@pytest.mark.usefixtures("first")
def test_push_again_sends_nothing(user: User, python_image: str) -> None:
    """What the machine has is not sent again."""
    assert user.asks("push", "demo", python_image)["sent_bytes"] == 0


@pytest.mark.usefixtures("first")
def test_build_run_exec_logs_stop_rm(user: User, python_image: str) -> None:
    """A directory here becomes an image there; its container runs with what it was given and answers as in Docker."""
    context = user.home / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(image=python_image))
    user.types("build", "demo", str(context), "-t", "built")
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    user.types("run", "demo", "--name", "web", "-p", "8000:8000", "-e", "WORD=x", "built", "--", "python3", "-c", serve)
    [web] = user.asks("ps", "demo")
    assert (web["name"], web["image"], web["running"]) == ("web", "built", True)
    shown = user.types("exec", "demo", "web", "--", "sh", "-c", "echo $GREETING $WORD; cat /built; exit 7", check=False)
    assert (shown.returncode, shown.stdout) == (7, "hello x\nbuilt\n")
    fetched = user.types("ssh", "demo", "--", "curl --retry 5 --retry-connrefused -s http://127.0.0.1:8000/built")
    assert fetched.stdout == "built\n"
    listening = user.types("ssh", "demo", "--", "sudo ss -ltnH").stdout
    assert "127.0.0.1:8000" in listening
    assert "0.0.0.0:8000" not in listening
    assert "GET /built" in user.types("logs", "demo", "web").stderr
    again = user.types("run", "demo", "--name", "web", "built", "--", "true", check=False)
    assert (again.returncode, "hint:" in again.stderr) == (3, True)
    user.types("stop", "demo", "web", "-t", "1")
    assert user.asks("ps", "demo") == []
    user.types("rm", "demo", "web")
    assert user.asks("ps", "demo", "-a") == []


def test_the_main_job(user: User, first: Any, python_image: str, tmp_path: Path) -> None:
    """Every file, the container and its training come back on any machine, and AWS holds one snapshot a life."""
    make_wheel(tmp_path / "hello-1-py3-none-any.whl")
    for file in (TRAIN, tmp_path / "hello-1-py3-none-any.whl"):
        user.types("ssh", "demo", "--", f"cat > /v1/{file.name}", stdin=file.read_bytes())
    user.types("run", "demo", "--name", "train", python_image, "--", "python3", "/v1/train.py")
    for line in (
        "python3 -m pip install --break-system-packages --no-index /v1/hello-1-py3-none-any.whl",
        "dd if=/dev/urandom of=/root/features bs=1M count=200",
        "echo anonymous > /anonymous/note",
    ):
        user.types("exec", "demo", "train", "--", "sh", "-c", line)
    repository = "git init -q origin && cd origin && git -c user.name=a -c user.email=b commit -q --allow-empty -m x"
    user.types("ssh", "demo", "--", f"{repository} && cd .. && git clone -q origin project")
    before, reached = facts(user), wait_for_epoch(user, 0)
    [container] = user.asks("ps", "demo")
    assert not container["gpu"]
    run_others(user, python_image)

    assert user.asks("down", "demo")["drives"][0]["snapshot"]["state"] == "completed"
    assert_at_rest(user, snapshots=1)

    second = user.asks("up", "demo", "--gpu")
    assert second["machine"]["zone"] != first["machine"]["zone"]
    assert second["machine"]["type"].startswith("g")
    check_others(user)
    [again] = user.asks("ps", "demo")
    assert again["id"] == container["id"]
    assert "SIMULATED" in str(again["gpu"])
    assert "SIMULATED" in user.types("exec", "demo", "train", "--", "nvidia-smi", "-L").stdout
    assert facts(user) == before
    assert "starting at epoch 0" in user.types("logs", "demo", "train").stdout
    reached = wait_for_epoch(user, reached)
    images = user.types("ssh", "demo", "--", "docker", "images", "--format", "{{.Repository}}").stdout
    assert "xportal/train" in images.split()

    user.types("down", "demo")
    assert_at_rest(user, snapshots=2)
    user.types("up", "demo", "--cpu")
    [last] = user.asks("ps", "demo")
    assert (last["id"], last["running"], bool(last["gpu"])) == (container["id"], True, False)
    assert facts(user) == before
    wait_for_epoch(user, reached)
    user.types("down", "demo")
    assert_at_rest(user, snapshots=3)


def run_others(user: User, image: str) -> None:
    """One without a restart policy, one with, and one that has a policy and is stopped."""
    sleep = ("--", "sleep", "1000000")
    user.types("run", "demo", "--name", "plain", image, *sleep)
    user.types("run", "demo", "--name", "always", "--restart", "always", "-v", "data:/data", image, *sleep)
    user.types("run", "demo", "--name", "stopped", "--restart", "unless-stopped", image, *sleep)
    user.types("exec", "demo", "always", "--", "sh", "-c", "echo kept > /data/file")
    user.types("stop", "demo", "stopped", "-t", "1")


def check_others(user: User) -> None:
    """Restart policies are kept, and do not start what the user had stopped. Removes them."""
    running = {c["name"]: c["running"] for c in user.asks("ps", "demo", "-a")}
    assert running == {"train": True, "plain": True, "always": True, "stopped": False}
    assert user.types("exec", "demo", "always", "--", "cat", "/data/file").stdout == "kept\n"
    policy = "docker inspect --format {{.HostConfig.RestartPolicy.Name}} always stopped"
    assert user.types("ssh", "demo", "--", policy).stdout.split() == ["always", "unless-stopped"]
    user.types("ssh", "demo", "--", "docker rm -f plain always stopped")


def assert_at_rest(user: User, *, snapshots: int) -> None:
    """No machine, no volume, no key pair, no security group of ours; so many completed snapshots."""
    ec2 = user.client()
    states = {i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]}
    assert states <= {"terminated"}
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert [g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    found = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert [s["State"] for s in found] == ["completed"] * snapshots
