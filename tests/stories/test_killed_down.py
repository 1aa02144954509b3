"""The client of `down` dies: the machine goes on alone, and the next command settles the rest."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stories.conftest import User
from tests.stories.test_killed_up import live_machines
from tests.stories.test_notice import snapshots

pytestmark = pytest.mark.machine

UP = ("up", "demo", "--cpu", "--size", "2")
ALONE = "Unmounting"  # from this line on the machine has all it needs to know


def kill_down(user: User, said: str) -> None:
    """SIGKILL `down` once its story has said something."""
    with user.starts("down", "demo") as down:
        assert down.stderr
        for line in down.stderr:
            if said in line:
                down.kill()
    assert down.returncode == -signal.SIGKILL


def wait_until_off(user: User) -> None:
    """The machine's power goes, with no command running."""
    deadline = time.monotonic() + 180
    ec2 = user.client()
    while live_machines(ec2):
        assert time.monotonic() < deadline, "the machine goes on costing"
        time.sleep(1)


def nothing_is_billed(user: User) -> None:
    """But for snapshots."""
    ec2 = user.client()
    assert live_machines(ec2) == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []


@pytest.mark.all
def test_a_machine_with_a_role_saves_and_ends_itself(user: User) -> None:
    """The final snapshot is there, the machine off within three minutes; `up` goes on from it."""
    user.types(*UP)
    user.types("ssh", "demo", "--", "echo kept > ~/file")
    kill_down(user, ALONE)
    wait_until_off(user)
    assert snapshots(user)[-1]["xportal:kind"] == "final"
    user.types(*UP)
    assert user.types("ssh", "demo", "--", "cat ~/file").stdout == "kept\n"
    user.types("down", "demo", "--discard", "--yes")
    nothing_is_billed(user)


@pytest.mark.all
def test_a_machine_without_a_role_ends_itself(user: User) -> None:
    """Its volume is left, and the next `down` saves it."""
    user.types("sandbox", "fault", "role-gone")
    try:
        user.types(*UP)
        user.types("ssh", "demo", "--", "echo more > ~/file")
        kill_down(user, ALONE)
        wait_until_off(user)
    finally:
        user.types("sandbox", "fault", "clear")
    user.types("down", "demo")
    nothing_is_billed(user)
    user.types(*UP)
    assert user.types("ssh", "demo", "--", "cat ~/file").stdout == "more\n"
    user.types("down", "demo", "--discard", "--yes")


@pytest.fixture(params=["role", "no role"])
def roles(user: User, request: pytest.FixtureRequest) -> Iterator[None]:
    """Machines that can take their snapshot by themselves, or cannot."""
    if request.param == "no role":
        user.types("sandbox", "fault", "role-gone")
    yield
    user.types("sandbox", "fault", "clear")


@pytest.mark.all
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("roles")
def test_killed_at_every_line(user: User) -> None:
    """Whenever that is: what was written is there, and after the next `down` nothing is billed."""
    user.types(*UP)
    user.types("ssh", "demo", "--", "rm -f ~/lines")
    lines = len(user.types("down", "demo").stderr.splitlines())
    written: list[str] = []
    for line in range(1, lines + 1):
        user.types(*UP)
        user.types("ssh", "demo", "--", f"echo {line} >> ~/lines; sync ~/lines")
        written.append(str(line))
        kill_at(user, line)
        user.types("down", "demo")
        nothing_is_billed(user)
    user.types(*UP)
    assert user.types("ssh", "demo", "--", "cat ~/lines").stdout.split() == written
    user.types("down", "demo", "--discard", "--yes")


def kill_at(user: User, line: int) -> None:
    """SIGKILL `down` once it has told so many lines."""
    down: subprocess.Popen[Any]
    with user.starts("down", "demo") as down:
        assert down.stderr
        for number, _ in enumerate(down.stderr, start=1):
            if number == line:
                down.kill()
