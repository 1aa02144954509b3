"""Ctrl-C in `up`, whenever: who then works in the home directory finds it again."""

from __future__ import annotations

import signal

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine
SSH_FAILED = 255  # ssh's own status, where sshd starts anew in the middle of a boot


@pytest.fixture(scope="module")
def lines(user: User) -> int:
    """How many lines `up` tells, the drive being there."""
    user.types("up", "demo", "--cpu", "--size", "2")
    user.types("down", "demo")
    told = user.types("up", "demo", "--cpu").stderr.splitlines()
    user.types("down", "demo")
    return len(told)


def interrupt_up(user: User, line: int) -> int:
    """Ctrl-C once `up` has told so many lines. Its exit status."""
    with user.starts("up", "demo", "--cpu") as up:
        assert up.stderr
        for number, _ in enumerate(up.stderr, start=1):
            if number == line:
                up.send_signal(signal.SIGINT)
    return up.returncode


def work(user: User, text: str) -> bool:
    """Write into the home directory, if there is a machine to log in to; whether that was acknowledged."""
    done = user.types("ssh", "demo", "--", f"echo {text} >> ~/log && sync ~/log", check=False)
    assert done.returncode in (0, 3, SSH_FAILED), done.stderr
    return done.returncode == 0


@pytest.mark.all
def test_work_in_the_home_of_an_interrupted_up_lasts(user: User, lines: int) -> None:
    """At each line of its output: a machine that is left has the drive's home, or none that can be written to."""
    user.types("up", "demo", "--cpu")
    user.types("ssh", "demo", "--", "rm -f ~/log; touch ~/log")
    user.types("down", "demo")
    written = []
    for line in range(1, lines + 1):
        assert interrupt_up(user, line) in (0, 130)
        if work(user, f"line-{line}"):
            written.append(f"line-{line}")
        user.types("down", "demo")
    assert written
    user.types("up", "demo", "--cpu")
    assert user.types("ssh", "demo", "--", "cat ~/log").stdout.split() == written
    user.types("down", "demo", "--discard", "--yes")
