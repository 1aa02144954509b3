"""Checkpoints, saves that nobody waits for, older copies, and what is thrown away; on real machines."""

from __future__ import annotations

import time

import pytest

from tests.stories.conftest import User
from xportal.agent.full.checkpoint import LIMIT_SECONDS

pytestmark = pytest.mark.machine

AGENT = "sudo /opt/xportal/agent"
TOUCH = "timeout 60 sudo touch /v1/after"  # on a frozen drive it hangs


def write(user: User, word: str) -> None:
    """A line in a file of the drive, on disk when this returns."""
    user.types("ssh", "demo", "--", f"echo {word} >> /v1/words && sync /v1/words")


def words(user: User) -> list[str]:
    """What the file holds."""
    return user.types("ssh", "demo", "--", "cat", "/v1/words").stdout.split()


def frozen_log(user: User, name: str) -> None:
    """Freeze, and return when it says so."""
    said = f"grep -q '\"frozen\"' /run/xportal/log/{name}.jsonl"
    user.types("ssh", "demo", "--", f"{AGENT} freeze {name} && until {said}; do sleep 0.05; done")


def test_saves(user: User) -> None:
    """Two lives: a checkpoint, a down that does not wait, a restore of the checkpoint, a discard."""
    user.types("up", "demo", "--size", "1")
    write(user, "one")
    checkpoint = user.asks("save", "demo")["drives"][0]["snapshot"]
    assert checkpoint["state"] == "completed"
    write(user, "two")

    user.types("down", "demo", "--no-wait")
    assert all(row["state"] != "running" for row in user.asks("status"))
    user.types("sweep")
    [final, before] = user.asks("drives", "history", "demo")
    assert (final["kind"], final["state"], final["note"]) == ("final", "completed", "newest")
    assert (before["id"], before["kind"]) == (checkpoint["id"], "checkpoint")

    user.types("up", "demo")
    assert words(user) == ["one", "two"]
    write(user, "three")
    refused = user.types("down", "demo", "--discard", check=False)
    assert refused.returncode == 2
    assert "is deleted without being saved" in refused.stderr
    assert words(user) == ["one", "two", "three"]
    assert "nothing was saved" in user.types("down", "demo", "--discard", "--yes").stdout

    user.types("drives", "restore", "demo", checkpoint["id"])
    user.types("up", "demo")
    assert words(user) == ["one"]


@pytest.mark.all
def test_a_freeze_always_ends(user: User) -> None:
    """The agent that froze the drive is killed; nobody says that it is over: each time the drive thaws."""
    user.types("up", "demo", "--size", "1")
    frozen_log(user, "killed")
    user.types("ssh", "demo", "--", "sudo systemctl kill -s KILL xportal-freeze@killed.service")
    user.types("ssh", "demo", "--", TOUCH)

    frozen_log(user, "forgotten")
    began = time.monotonic()
    user.types("ssh", "demo", "--", TOUCH)
    assert time.monotonic() - began < LIMIT_SECONDS + 10
    end = user.types("ssh", "demo", "--", "tail", "-1", "/run/xportal/log/forgotten.jsonl").stdout
    assert '"in_time": false' in end

    frozen_log(user, "overtaken")
    began = time.monotonic()
    user.types("down", "demo")
    assert time.monotonic() - began < LIMIT_SECONDS
