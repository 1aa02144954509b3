"""Saves of drives with a dead file server, a disk image and a swap file on them. That by `down` is in test_saves.py."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest

from tests.stories.conftest import User
from tests.stories.test_notice import snapshots
from tests.unit.agent.test_unmount import NEVER_ANSWERS

pytestmark = pytest.mark.machine

# The machine's /dev has only what it was made with: the nodes are made as udev would.
NODES = """set -e
cd /tmp
test -e /dev/fuse || sudo mknod /dev/fuse c 10 229
test -e /dev/loop-control || sudo mknod /dev/loop-control c 10 237
loop=$(sudo losetup --find); test -e $loop || sudo mknod $loop b 7 ${loop#/dev/loop}
"""
MAKE = """truncate -s 32M /v1/data.img
sudo mkfs.ext4 -q /v1/data.img
sudo sh -c 'fallocate -l 8M /v1/swap; chmod 600 /v1/swap; mkswap -q /v1/swap'
"""
USE = """sudo losetup $loop /v1/data.img
sudo mkdir -p /v1/s3 /mnt/image
sudo mount $loop /mnt/image
sudo swapon /v1/swap
sudo setsid sh -c "sleep inf | python3 -c \\"$1\\" /v1/s3" > /tmp/fuse.log 2>&1 < /dev/null &
until findmnt /v1/s3; do sleep 0.1; done
sudo setsid ls /v1/s3 > /dev/null 2>&1 < /dev/null &
sudo setsid sh -c 'cd /mnt/image; exec sleep inf' > /dev/null 2>&1 < /dev/null &
"""


@pytest.fixture(scope="module")
def hard(user: User) -> Iterator[User]:
    """A portal whose drive holds an image and a swap file."""
    user.types("up", "demo", "--cpu", "--size", "2")
    run(user, NODES + MAKE)
    yield user
    user.types("down", "demo", "--discard", "--yes")


def run(user: User, script: str, *arguments: str) -> str:
    """What a script on the machine prints."""
    return user.types("ssh", "demo", "--", shlex.join(["bash", "-c", script, "script", *arguments])).stdout


def use(user: User, result: str) -> None:
    """Everything is in use; the result is written into the image, without a flush."""
    run(user, NODES + USE, NEVER_ANSWERS.replace('"', "'"))
    run(user, f"echo {result} | sudo tee -a /mnt/image/results")


def results(user: User) -> list[str]:
    """What the image holds."""
    return run(user, "sudo debugfs -R 'cat /results' /v1/data.img").split()


@pytest.mark.all
def test_notice(hard: User) -> None:
    """The machine alone names them and takes them off, and takes the final snapshot in its time."""
    use(hard, "second")
    hard.types("sandbox", "interrupt", "demo", "--notice-seconds", "60")
    deadline = time.monotonic() + 90
    while hard.asks("status"):
        assert time.monotonic() < deadline, "the machine still has power"
        time.sleep(1)
    assert snapshots(hard)[-1]["xportal:kind"] == "final"
    assert snapshots(hard)[-1]["xportal:save"].startswith("notice-")
    hard.types("up", "demo", "--cpu")
    assert results(hard) == ["second"]
