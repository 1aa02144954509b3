"""`watch`, as typed, on real machines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

SECONDS = 120.0
MIB = 1024 * 1024
# What is flushed, and then what is not.
WRITE = """write='dd if=/dev/zero bs=1M count=5 status=none'
$write conv=fsync of=/v1/safe && sync && $write of=/v1/unsafe"""
SIZES = "stat -c %s /v1/safe; stat -c %s /v1/unsafe 2>/dev/null || echo 0"


def wait_for(condition: Callable[[], object]) -> None:
    """Until it is true."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(1)


def machine(user: User) -> str:
    """The portal's machine that runs, or nothing."""
    rows = [row for row in user.asks("status") if row["portal"] == "demo" and row["state"] == "running"]
    return rows[0]["machine"] if rows else ""


def test_a_portal_comes_back_by_itself(user: User) -> None:
    """AWS takes the machine without a word while only the watch runs: it attaches the volume, on which what was flushed
    is whole, and what was not is lost; a `down` ends both."""
    user.types("up", "demo", "--cpu", "--size", "2")
    before = machine(user)
    watching = user.starts("watch", "demo", "--max-hours", "1")
    user.types("ssh", "demo", "--", WRITE)
    user.types("sandbox", "interrupt", "demo", "--no-notice")
    wait_for(lambda: machine(user) not in ("", before))
    wait_for(lambda: user.types("ssh", "demo", "--", "mountpoint /v1", check=False).returncode == 0)
    sizes = user.types("ssh", "demo", "--", SIZES).stdout.split()
    assert [int(size) for size in sizes] == [5 * MIB, 0]
    user.types("down", "demo")
    answer, story = watching.communicate(timeout=SECONDS)
    assert watching.returncode == 0, story
    assert "attaching" in story  # the volume that was left
    assert "somebody ended" in answer
    assert "1 interruption" in answer


def test_mistakes(user: User) -> None:
    """A portal that is not up is refused; limits must be more than nothing."""
    done = user.types("watch", "nowhere", check=False)
    assert (done.returncode, 'there is no portal "nowhere"' in done.stderr) == (3, True)
    done = user.types("watch", "nowhere", "--budget", "0", check=False)
    assert (done.returncode, "--budget 0 is not possible" in done.stderr) == (2, True)
