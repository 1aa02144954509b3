"""A snapshot of a real disk knows how much of it is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.lab import wait_until
from xportal.sandbox.hardware.changed_blocks import count_unshared
from xportal.sandbox.hardware.disks import Disks

pytestmark = pytest.mark.machine

MIB = 1024**2


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    """A store of its own."""
    disks = Disks(tmp_path_factory.mktemp("disks"))
    disks.open()
    yield disks
    disks.close()


def write(path: Path, position_mib: int, size_mib: int) -> None:
    """New data, on the disk."""
    with path.open("r+b", buffering=0) as disk:
        disk.seek(position_mib * MIB)
        disk.write(b"x" * size_mib * MIB)


def test_what_no_snapshot_has_is_counted(disks: Disks) -> None:
    """All data at first, then what was written since, anew or over; nothing when nothing was."""
    disks.create_volume("vol-1", 1, None)
    path = disks.volume_path("vol-1")
    write(path, 0, 8)
    assert disks.create_snapshot("snap-1", "vol-1") == 8 * MIB
    assert disks.create_snapshot("snap-2", "vol-1") == 0
    write(path, 4, 2)
    write(path, 100, 1)
    assert disks.create_snapshot("snap-3", "vol-1") == 3 * MIB
    disks.delete_snapshot("snap-3")
    write(path, 0, 1)
    wait_until(lambda: count_unshared(path) == 4 * MIB)  # what the deleted one alone had is new again, soon


def test_a_restored_volume_begins_with_its_snapshot(disks: Disks) -> None:
    """What it got from there is not new; many pieces are counted as well as one."""
    disks.create_volume("vol-2", 1, None)
    write(disks.volume_path("vol-2"), 0, 8)
    disks.create_snapshot("snap-5", "vol-2")
    disks.create_volume("vol-3", 2, "snap-5")
    restored = disks.volume_path("vol-3")
    with restored.open("r+b", buffering=0) as disk:
        for piece in range(1500):
            disk.seek(100 * MIB + piece * 64 * 1024)
            disk.write(b"y" * 4096)
    assert disks.create_snapshot("snap-6", "vol-3") == 1500 * 4096
