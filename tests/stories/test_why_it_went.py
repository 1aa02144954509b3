"""A machine goes that somebody works on, or nobody: who follows a container is told, and whoever comes afterwards."""

from __future__ import annotations

import time

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

# As good training code does, it ends well when it is asked to.
TRAIN = "trap 'echo saved; exit 0' TERM; echo began; while :; do sleep 0.2; done"
IDLE = "0.25"


def wait_until_gone(user: User, seconds: float) -> None:
    """No machine of the portal is left."""
    deadline = time.monotonic() + seconds
    while user.asks("status"):
        assert time.monotonic() < deadline, "the machine still has power"
        time.sleep(1)


def test_who_follows_and_who_comes_later_is_told(user: User) -> None:
    """`logs -f` ends with 3 at a notice, though the container ended with 0, and `status` says why it went."""
    user.types("up", "demo", "--cpu", "--size", "1")
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    user.types("run", "demo", "--name", "train", "--no-init", "tiny", "--", "sh", "-c", TRAIN)
    logs = user.starts("logs", "-f", "demo", "train")
    attached = user.starts("run", "demo", "--attach", "--no-init", "--name", "again", "tiny", "--", "sh", "-c", TRAIN)
    for follower in (logs, attached):
        assert follower.stdout
        assert follower.stdout.readline() == "began\n"
    user.types("sandbox", "interrupt", "demo", "--notice-seconds", "30")
    while "running, sav" not in (told := user.types("status", "demo")).stdout:  # saving, or saved by now
        assert "running" in told.stdout
    assert "AWS takes the machine back at" in told.stderr
    for follower in (logs, attached):
        out, err = follower.communicate(timeout=60)
        assert (follower.returncode, out) == (3, "saved\n"), err
        assert "AWS takes the machine back at" in err
    wait_until_gone(user, 60)
    assert "AWS took its machine back, which saved itself at" in user.types("status", "demo").stdout


@pytest.mark.all
def test_a_machine_that_was_idle_or_lost_its_power(user: User) -> None:
    """What sticks is shown while it is up; why it went, afterwards; `logs -f` ends with 1 if the power goes."""
    told = user.types("up", "demo", "--cpu", "--size", "1", "--idle-minutes", IDLE)
    assert f"unused for {IDLE} minutes it saves and ends itself" in told.stdout
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    wait_until_gone(user, 120)
    why = f"nobody used its machine for {IDLE} minutes: that saved and ended itself at"
    told = user.types("status", "demo")
    assert why in told.stdout
    assert f"--idle-minutes {IDLE}" in told.stdout
    assert why in user.asks("status", "demo")[0]["ended"]
    told = user.types("up", "demo", "--idle-minutes", "60")
    assert why in told.stderr
    user.types("run", "demo", "--name", "late", "tiny", "--", "sh", "-c", TRAIN)
    following = user.starts("logs", "-f", "demo", "late")
    assert following.stdout
    assert following.stdout.readline() == "began\n"
    user.types("sandbox", "interrupt", "demo", "--no-notice")
    out, err = following.communicate(timeout=120)
    assert following.returncode == 1, (out, err)
    assert "nobody will answer there" in err
