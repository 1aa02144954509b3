"""Marks that a person puts on or takes off: what is marked is saved, and never lives again."""

from __future__ import annotations

import itertools

import pytest

from tests.crash.conftest import Bench
from tests.crash.test_attach import interrupt
from xportal.aws import tags
from xportal.aws.devices import DEVICE
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive.observe import observe
from xportal.errors import NoSuchCopy
from xportal.portal.restore import restore

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"marks{next(_numbers)}"


def mark(bench: Bench, copy_id: str) -> None:
    """Somebody puts the tag on it."""
    set_tags(bench.aws, copy_id, {tags.MARKED: bench.aws.now().isoformat()})


def test_mark_put_on_a_volume_in_use(bench: Bench, drive: str) -> None:
    """`up` does not go on with it: it is saved on its machine, which ends, and the drive comes up from the snapshot."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    mark(bench, machine.disks[DEVICE])
    again = bench.up(drive)
    assert (again.id, again.disks[DEVICE]) != (machine.id, machine.disks[DEVICE])
    assert bench.read(again) == ["kept"]
    bench.down(drive)


def test_mark_put_on_a_volume_that_is_left(bench: Bench, drive: str) -> None:
    """It is not attached again, though its zone has a machine: it is saved, and the drive restored."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    mark(bench, interrupt(bench, machine))
    again = bench.up(drive)
    assert again.disks[DEVICE] != machine.disks[DEVICE]
    assert bench.read(again) == ["kept"]
    bench.down(drive)


def test_mark_taken_off(bench: Bench, drive: str) -> None:
    """Somebody says that nobody deletes it any more: it is attached like any other."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    volume = interrupt(bench, machine)
    mark(bench, volume)
    delete_tag(bench.aws, volume, tags.MARKED)
    again = bench.up(drive)
    assert again.disks[DEVICE] == volume
    assert bench.read(again) == ["kept"]
    bench.down(drive)


def test_mark_put_on_a_snapshot(bench: Bench, drive: str) -> None:
    """`drives restore` refuses it; as the newest data it is gone on from as ever."""
    bench.write(bench.up(drive, size_gib=1), "first")
    [first] = bench.down(drive).snapshots
    mark(bench, first.id)
    bench.write(bench.up(drive), "second")
    bench.down(drive)
    with pytest.raises(NoSuchCopy):
        restore(bench.aws, drive, first.id, bench.story)
    assert observe(bench.aws, drive).lock is None
    assert bench.read(bench.up(drive)) == ["first", "second"]
    bench.down(drive)
