"""From power off to work that goes on: in the volume's zone and in another, with and without rolling checkpoints.

One table: `pytest tests/stories/test_way_back.py --all -s`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User

pytestmark = [pytest.mark.machine, pytest.mark.all]

RATE = 16  # MiB of changed bytes a second, that snapshots take
DRIVE_MIB, CHANGE_MIB = 320, 16  # on the drive long since, and in the last moments
EVERY = 0.25  # minutes
LEDGER = "sh -c 'while :; do echo line >> /v1/ledger; sleep 0.1; done'"
MORE_SECONDS = 5.0  # than a machine's boot, in the same zone
SECONDS = 120.0


@dataclass(frozen=True)
class Row:
    """One way back, in seconds from power off."""

    zone: str
    rolling: bool
    seconds: float


def fill(user: User, portal: str, name: str, mib: int) -> None:
    """Bytes that nothing compresses, on disk when this returns."""
    write = f"dd if=/dev/urandom of=/v1/{name} bs=1M count={mib} conv=fsync status=none"
    user.types("ssh", portal, "--", write)


def lines(user: User, portal: str) -> int:
    """How long the ledger is; 0 while nobody can tell."""
    told = user.types("ssh", portal, "--", "wc -l < /v1/ledger", check=False).stdout.strip()
    return int(told) if told.isdecimal() else 0


@contextmanager
def no_machine_in(user: User, zone: str | None) -> Iterator[None]:
    """A zone without capacity, if one is told."""
    if zone:
        user.types("sandbox", "fault", "capacity", "--zone", zone)
    try:
        yield
    finally:
        user.types("sandbox", "fault", "clear")


def first_life(user: User, portal: str, rolling: bool) -> float:
    """A portal whose container writes a ledger; the seconds that its machine took to come up, blank."""
    began = time.monotonic()
    user.types("up", portal, "--cpu", "--size", "2", *(["--checkpoint-every", str(EVERY)] if rolling else []))
    boot = time.monotonic() - began
    fill(user, portal, "old", DRIVE_MIB)
    user.types("ssh", portal, "--", MAKE_IMAGE)
    user.types("ssh", portal, "--", f"docker run -d --name ledger --restart always -v /v1:/v1 tiny {LEDGER}")
    return boot


def wait_for_checkpoint(user: User) -> None:
    """Until a rolling checkpoint that began after now is complete."""
    filters = [{"Name": "tag:xportal:rolling", "Values": ["1"]}]

    def complete() -> int:
        found = user.client().describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        return len([s for s in found if s["State"] == "completed"])

    before, deadline = complete(), time.monotonic() + SECONDS
    while complete() < before + 2:  # the one under way may have begun before
        assert time.monotonic() < deadline
        time.sleep(1)


def way_back(user: User, portal: str, zone: str, rolling: bool) -> Row:
    """Cut the power, bring the portal up, and wait until the ledger grows."""
    [before] = user.asks("status", portal)
    if rolling:
        wait_for_checkpoint(user)
    fill(user, portal, "new", CHANGE_MIB)
    user.types("ssh", portal, "--", "sync")
    user.types("sandbox", "interrupt", portal, "--no-notice")
    began = time.monotonic()
    with no_machine_in(user, before["zone"] if zone == "another" else None):
        user.types("up", portal, "--cpu")
    count = lines(user, portal)
    assert count
    while lines(user, portal) == count:
        assert time.monotonic() - began < SECONDS
    took = time.monotonic() - began
    [after] = user.asks("status", portal)
    assert (after["zone"] == before["zone"]) is (zone == "the same")
    return Row(zone, rolling, took)


def test_the_way_back(user: User) -> None:
    """The same zone needs a machine's boot and 5 s; another one's wait is that for the last interval's changes."""
    user.types("sandbox", "set", "--snapshot-rate", str(RATE))
    rows, boots = [], []
    print(f"\nsnapshots at {RATE} MiB/s of changes, {DRIVE_MIB} MiB on the drive, the last {CHANGE_MIB} of them new")  # noqa: T201
    for number, (rolling, zone) in enumerate(itertools.product((False, True), ("the same", "another"))):
        portal = f"demo{number}"
        boots.append(first_life(user, portal, rolling))
        row = way_back(user, portal, zone, rolling)
        rows.append(row)
        with_ = "with" if rolling else "without"
        print(f"{zone:8} zone, {with_:7} rolling checkpoints: {row.seconds:5.1f} s; its boot, blank: {boots[-1]:.1f} s")  # noqa: T201
        user.types("down", portal)
    same, other, same_rolling, other_rolling = (row.seconds for row in rows)
    assert max(same, same_rolling) < max(boots) + MORE_SECONDS
    assert other > DRIVE_MIB / RATE
    assert other_rolling < other - DRIVE_MIB / RATE / 2
