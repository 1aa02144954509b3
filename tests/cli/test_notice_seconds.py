"""From AWS's notice to the snapshot, for containers that have just written much; and how long the naive order takes.

One table: `pytest tests/cli/test_notice_seconds.py --all -s`. It needs 20 GiB of disk, and some minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.agent.agent_bench import MAKE_IMAGE
from tests.cli.conftest import User
from tests.cli.outside import Outside, SandboxEnds, wait_for
from tests.cli.test_last_moments import saves
from xportal.agent.dirty import BOUND
from xportal.sandbox.engine import Engine

pytestmark = [pytest.mark.machine, pytest.mark.all]

SIZES = (0, 1, 4)  # GB
NOTICE_SECONDS = 120.0
FLAT = 1.5
JITTER = 1.0  # seconds, of two cores that others share
GB = 1000**3


@dataclass(frozen=True)
class Row:
    """One size, in seconds. `dirty`: bytes that waited in memory at the notice."""

    gb: int
    dirty: int
    noticed: float  # until the save began: the agent looks every three seconds
    saved: float  # from then until CreateSnapshot was answered
    fitted: float  # of which were commits that surely fitted into the time
    flush: float  # and writing what waited in memory
    commit: float  # the naive order
    stop: float
    snapshot: float

    @property
    def rest(self) -> float:
        """What must not grow."""
        return self.saved - self.fitted - self.flush

    @property
    def naive(self) -> float:
        """All of the naive order."""
        return self.commit + self.stop + self.snapshot

    def __str__(self) -> str:
        cells = [self.noticed, self.saved, self.fitted, self.flush, self.rest]
        cells += [self.commit, self.stop, self.snapshot, self.naive]
        return f"{self.gb:4} GB {self.dirty / 2**20:8.0f} MiB" + "".join(f"{cell:10.1f}" for cell in cells)


HEADINGS = ("noticed", "saved", "fitted", "flush", "the rest", "commit", "stop", "snapshot", "naive")


def write(user: User, gb: int) -> None:
    """A container with so much just written to its layer; nothing is flushed by whom it has written."""
    user.types(
        "ssh", "demo", "--", "docker rm -f work 2> /dev/null; sync; docker run -d --name work --init tiny sleep 9999"
    )
    fill = f"dd if=/dev/zero of=/filled bs=1M count={gb * GB >> 20} status=none"
    if gb:
        user.types("ssh", "demo", "--", f"docker exec work {fill}", timeout=600)


def dirty(machine: Outside) -> int:
    """Bytes that wait in memory to be written, to whatever disk."""
    facts = dict(line.split(":") for line in machine.path("/proc/meminfo").read_text().splitlines())
    return sum(int(facts[name].split()[0]) * 1024 for name in ("Dirty", "Writeback"))


def naive(user: User, volume: str) -> tuple[float, float, float]:
    """`docker commit`, `docker stop`, what waits in memory, CreateSnapshot."""
    seconds = []
    for command in ("docker commit work naive", "docker stop -t 2 work; sync"):
        began = time.monotonic()
        user.types("ssh", "demo", "--", command, timeout=600)
        seconds.append(time.monotonic() - began)
    began = time.monotonic()
    snapshot = user.client().create_snapshot(VolumeId=volume)["SnapshotId"]
    seconds.append(time.monotonic() - began)
    user.client().get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot])
    user.client().delete_snapshot(SnapshotId=snapshot)
    user.types("ssh", "demo", "--", "docker rm -f work; docker rmi naive")
    return seconds[0], seconds[1], seconds[2]


def measure(user: User, ends: SandboxEnds, gb: int) -> Row:
    """On one machine: the naive order, then the same content again, and the notice."""
    user.types("up", "demo", "--cpu", "--size", "20")
    [name] = ends.records()
    machine = ends.machine(name)
    [facts] = user.client().describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["demo"]}])["Volumes"]
    write(user, gb)
    commit, stop, snapshot = naive(user, facts["VolumeId"])
    write(user, gb)
    waiting = dirty(machine)
    ends.interrupt(name, notice_seconds=NOTICE_SECONDS)
    began = time.monotonic()
    wait_for("the save", lambda: saves(machine), 20)
    noticed = time.monotonic() - began
    wait_for(
        "the snapshot", lambda: any("has begun" in line.get("text", "") for line in saves(machine)), NOTICE_SECONDS
    )
    saved = next(line["t"] for line in saves(machine) if "has begun" in line.get("text", ""))
    wait_for("the end", lambda: saves(machine)[-1].get("end"), 30)
    seconds = saves(machine)[-1]["result"]["seconds"]
    machine.cut_power()
    return Row(gb, waiting, noticed, saved, seconds["commit"], seconds["sync"], commit, stop, snapshot)


def test_from_the_notice_to_the_snapshot(user: User) -> None:
    """Flat, whatever the container's layer holds, but for the memory that is bounded; the naive order grows with it."""
    user.types("up", "demo", "--cpu", "--size", "20")
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    print(f"\n{'':20}" + "".join(f"{heading:>10}" for heading in HEADINGS))  # noqa: T201
    rows = []
    with Engine.connect() as engine:
        ends = SandboxEnds(user.home / "sandbox", user.asks("sandbox", "status")["endpoint_url"], engine)
        for gb in SIZES:
            rows.append(measure(user, ends, gb))
            print(rows[-1])  # noqa: T201
            user.types("up", "demo", "--cpu")
            if gb:
                # The commit that there was no time for is made now, in the background, and holds the container still.
                is_still = "docker inspect -f '{{.State.Paused}}' work | grep -q true"
                count = f"while {is_still}; do sleep 0.5; done; docker exec work cat /filled | wc -c"
                size = user.types("ssh", "demo", "--", count, timeout=600)
                assert int(size.stdout) == gb * GB >> 20 << 20
    user.types("down", "demo", "--discard", "--yes")
    nothing, *others = rows
    for row in others:
        assert row.dirty < 2 * BOUND
        assert row.rest < FLAT * nothing.rest + JITTER
        assert row.saved < NOTICE_SECONDS / 2
    assert others[-1].naive > 2 * others[-1].saved
