"""A portal with two drives, on machines: after each end of one a plain `up` is as last time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User

pytestmark = pytest.mark.machine

# On the second drive. A line counts as written once it is flushed. It goes on with the number after the last.
LEDGER = """n=0; while read last; do n=$last; done < /v2/ledger
while :; do n=$((n+1)); echo $n >> /v2/ledger; sync /v2/ledger; sleep 0.1; done"""
OPTIONS = ("--drive", "demo:1", "--drive", "data:1", "--cpu", "--idle-minutes", "60")
WORDS = "--drive demo --drive data --cpu --idle-minutes 60"
NOTICE_SECONDS = 20.0


def ledger(user: User) -> list[int]:
    """The lines on the second drive."""
    return [int(line) for line in user.types("ssh", "demo", "--", "cat", "/v2/ledger").stdout.split()]


def wait_until_gone(user: User) -> None:
    """No machine of the portal is left."""
    deadline = time.monotonic() + NOTICE_SECONDS + 60
    while user.asks("status"):
        assert time.monotonic() < deadline, "the machine still has power"
        time.sleep(1)


def down(user: User) -> None:
    """Saved and ended by a person; meanwhile `status` tells what the next `up` will be."""
    user.types("down", "demo")
    [row] = user.asks("status", "demo")
    assert (row["state"], row["machine"], row["last_time"]["drives"]) == ("down", None, ["demo", "data"])
    told = user.types("status", "demo")
    assert WORDS in told.stdout
    assert "demo is down" in told.stderr


def interruption(user: User) -> None:
    """AWS takes the machine back, and it saves by itself: what it takes remembers, too."""
    user.types("sandbox", "interrupt", "demo", "--notice-seconds", f"{NOTICE_SECONDS:.0f}")
    wait_until_gone(user)
    found = user.client().describe_snapshots(
        OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": ["xportal:save"]}]
    )
    tags: list[dict[str, Any]] = [{tag["Key"]: tag["Value"] for tag in s["Tags"]} for s in found["Snapshots"]]
    assert {told["Name"] for told in tags if '"idle":60' in told["xportal:last-time"]} == {"demo", "data"}


def power_cut(user: User) -> None:
    """The machine is gone without a word."""
    user.types("sandbox", "interrupt", "demo", "--no-notice")
    wait_until_gone(user)


@pytest.mark.all
def test_two_drives_come_back_with_a_plain_up(user: User) -> None:
    """Through a `down`, an interruption and a power cut: the container finds its data on the second drive."""
    user.types("up", "demo", *OPTIONS)
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    run = f"docker run -d --name two --restart always -v /v2:/v2 tiny sh -c '{LEDGER}'"
    user.types("ssh", "demo", "--", f"touch /v2/ledger; {run}")
    ends: tuple[Callable[[User], None], ...] = (down, interruption, power_cut)
    for end in ends:
        user.types("ssh", "demo", "--", "until test -s /v2/ledger; do sleep 0.1; done")
        acknowledged = ledger(user)[-1]
        end(user)
        told = user.types("up", "demo").stderr
        assert f"as last time: {WORDS}" in told.splitlines(), told
        lines = ledger(user)
        assert lines == list(range(1, len(lines) + 1))
        assert len(lines) >= acknowledged
        user.types("ssh", "demo", "--", f"until test $(wc -l < /v2/ledger) -gt {len(lines)}; do sleep 0.1; done")
    [row] = user.asks("status", "demo")
    assert row["last_time"]["idle_minutes"] == 60
    user.types("down", "demo")
