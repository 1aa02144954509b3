"""The main job: up, work, down, up elsewhere with a GPU, down, up without; nothing is lost, nothing is left."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

TRAIN = Path(__file__).with_name("train.py")
FILES = {
    "layer": "exec demo train -- sha256sum /root/features",
    "anonymous volume": "exec demo train -- sha256sum /anonymous/note",
    "installed package": "exec demo train -- python3 -c import,hello;print(hello.WORD)",
    "drive": "ssh demo -- sha256sum /v1/train.py",
    "home": "ssh demo -- git -C project rev-parse HEAD",
}


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


def test_the_main_job(user: User, python_image: str, tmp_path: Path) -> None:
    """Every file, the container and its training come back on any machine, and AWS holds one snapshot a life."""
    first = user.asks("up", "demo", "--cpu")
    user.types("push", "demo", python_image)
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

    assert user.asks("down", "demo")["drives"][0]["snapshot"]["state"] == "completed"
    assert_at_rest(user, snapshots=1)

    second = user.asks("up", "demo", "--gpu")
    assert second["machine"]["zone"] != first["machine"]["zone"]
    assert second["machine"]["type"].startswith("g")
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
