"""A machine ends because nobody uses it, or without a word: `status` says why, and who follows a container is told."""

from __future__ import annotations

import time

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User
from tests.stories.test_notice import TRAIN

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

IDLE = "0.25"


def wait_until_gone(user: User, seconds: float) -> None:
    """No machine of the portal is left."""
    deadline = time.monotonic() + seconds
    while user.asks("status"):
        assert time.monotonic() < deadline, "the machine still has power"
        time.sleep(1)


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
