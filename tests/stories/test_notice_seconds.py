"""From AWS's notice to the snapshot, for containers that have just written much; and how long the naive order takes.

One table: `pytest tests/stories/test_notice_seconds.py --all -s`. It needs 20 GiB of disk, and some minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User
from tests.stories.machine_probe import MachineProbe, SandboxEnds, wait_for
from tests.stories.test_last_moments import saves
from xportal.agent.core.writeback import BOUND
from xportal.sandbox.hardware.docker import Engine

pytestmark = [pytest.mark.machine, pytest.mark.all]

SIZES = (0, 1, 4)  # GB
NOTICE_SECONDS = 120.0
FLAT = 1.5
NOTICES = 3  # of each size; the quickest counts, for two cores are shared by others
GB = 1000**3


@dataclass(frozen=True)
class Save:
    """One save at a notice, in seconds. `dirty`: bytes that waited in memory at the notice."""

    dirty: int
    noticed: float  # until the save began: the agent looks every three seconds
    saved: float  # from then until CreateSnapshot was answered
    flush: float  # of which was writing what waited in memory

    @property
    def rest(self) -> float:
        """What must not grow."""
        return self.saved - self.flush


@dataclass(frozen=True)
class Row:
    """One size: the save at a notice, and the naive order, in seconds."""

    gb: int
    save: Save
    commit: float
    stop: float
    snapshot: float

    @property
    def naive(self) -> float:
        """All of the naive order."""
        return self.commit + self.stop + self.snapshot

    def __str__(self) -> str:
        save = self.save
        cells = [save.noticed, save.saved, save.flush, save.rest, self.commit, self.stop, self.snapshot, self.naive]
        return f"{self.gb:4} GB {save.dirty / 2**20:8.0f} MiB" + "".join(f"{cell:10.1f}" for cell in cells)


HEADINGS = ("noticed", "saved", "flush", "the rest", "commit", "stop", "snapshot", "naive")


def write(user: User, gb: int) -> None:
    """A container with so much just written to its layer; nothing is flushed by whom it has written."""
    user.types(
        "ssh", "demo", "--", "docker rm -f work 2> /dev/null; sync; docker run -d --name work --init tiny sleep 9999"
    )
    fill = f"dd if=/dev/zero of=/filled bs=1M count={gb * GB >> 20} status=none"
    if gb:
        user.types("ssh", "demo", "--", f"docker exec work {fill}", timeout=600)


def dirty(machine: MachineProbe) -> int:
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


def save(user: User, ends: SandboxEnds, gb: int) -> Save:
    """So much is written, and AWS takes the machine; another one comes up."""
    [name] = ends.records()
    machine = ends.machine(name)
    write(user, gb)
    waiting = dirty(machine)
    ends.interrupt(name, notice_seconds=NOTICE_SECONDS)
    began = time.monotonic()
    wait_for("the save", lambda: saves(machine), 20)
    noticed = time.monotonic() - began
    wait_for("the end", lambda: saves(machine)[-1].get("end"), NOTICE_SECONDS)
    log = saves(machine)
    saved = next(line["t"] for line in log if "has begun" in line.get("text", ""))
    machine.cut_power()
    user.types("up", "demo", "--cpu")
    check_content(user, gb)
    return Save(waiting, noticed, saved, log[-1]["result"]["seconds"]["sync"])


def check_content(user: User, gb: int) -> None:
    """All of it came back. The commit that there was no time for is made meanwhile, and holds the container still."""
    if gb:
        is_still = "docker inspect -f '{{.State.Paused}}' work | grep -q true"
        count = f"while {is_still}; do sleep 0.5; done; docker exec work cat /filled | wc -c"
        size = user.types("ssh", "demo", "--", count, timeout=600)
        assert int(size.stdout) == gb * GB >> 20 << 20


def measure(user: User, ends: SandboxEnds, gb: int) -> Row:
    """The naive order, then the same content again, and notices."""
    [volume] = user.client().describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["demo"]}])["Volumes"]
    write(user, gb)
    commit, stop, snapshot = naive(user, volume["VolumeId"])
    return Row(gb, min((save(user, ends, gb) for _ in range(NOTICES)), key=lambda s: s.rest), commit, stop, snapshot)


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
    user.types("down", "demo", "--discard", "--yes")
    nothing, *others = (row.save for row in rows)
    for one in others:
        assert one.dirty < 2 * BOUND
        assert one.rest < FLAT * nothing.rest
    assert rows[-1].naive > 2 * rows[-1].save.saved
