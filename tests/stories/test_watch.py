"""`watch`, as typed, on real machines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

SECONDS = 120.0


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
    """AWS takes the machine while only the watch runs: the portal is up again, with its data; a `down` ends both."""
    user.types("up", "demo", "--cpu", "--size", "2")
    user.types("ssh", "demo", "--", "echo kept > /v1/file; sync")
    before = machine(user)
    watching = user.starts("watch", "demo", "--max-hours", "1")
    try:
        user.types("sandbox", "interrupt", "demo", "--no-notice")
        wait_for(lambda: machine(user) not in ("", before))
        wait_for(lambda: user.types("ssh", "demo", "--", "cat /v1/file", check=False).stdout == "kept\n")
        user.types("down", "demo")
        answer, story = watching.communicate(timeout=SECONDS)
    finally:
        watching.kill()
    assert watching.returncode == 0, story
    assert "somebody ended" in answer
    assert "1 interruption" in answer


def test_mistakes(user: User) -> None:
    """A portal that is not up is refused; limits must be more than nothing."""
    done = user.types("watch", "nowhere", check=False)
    assert (done.returncode, 'there is no portal "nowhere"' in done.stderr) == (3, True)
    done = user.types("watch", "nowhere", "--budget", "0", check=False)
    assert (done.returncode, "--budget 0 is not possible" in done.stderr) == (2, True)
