"""Marks that a person puts on or takes off: what is marked is saved, and never lives again."""

from __future__ import annotations

import itertools

import pytest

from tests.crash.conftest import Lab
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


def mark(lab: Lab, copy_id: str) -> None:
    """Somebody puts the tag on it."""
    set_tags(lab.aws, copy_id, {tags.MARKED: lab.aws.now().isoformat()})


def test_mark_put_on_a_volume_in_use(lab: Lab, drive: str) -> None:
    """`up` does not go on with it: it is saved on its machine, which ends, and the drive comes up from the snapshot."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    mark(lab, machine.disks[DEVICE])
    again = lab.up(drive)
    assert (again.id, again.disks[DEVICE]) != (machine.id, machine.disks[DEVICE])
    assert lab.read(again) == ["kept"]
    lab.down(drive)


def test_mark_put_on_a_volume_that_is_left(lab: Lab, drive: str) -> None:
    """It is not attached again, though its zone has a machine: it is saved, and the drive restored."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    mark(lab, interrupt(lab, machine))
    again = lab.up(drive)
    assert again.disks[DEVICE] != machine.disks[DEVICE]
    assert lab.read(again) == ["kept"]
    lab.down(drive)


def test_mark_taken_off(lab: Lab, drive: str) -> None:
    """Somebody says that nobody deletes it any more: it is attached like any other."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    volume = interrupt(lab, machine)
    mark(lab, volume)
    delete_tag(lab.aws, volume, tags.MARKED)
    again = lab.up(drive)
    assert again.disks[DEVICE] == volume
    assert lab.read(again) == ["kept"]
    lab.down(drive)


def test_mark_put_on_a_snapshot(lab: Lab, drive: str) -> None:
    """`drives restore` refuses it; as the newest data it is gone on from as ever."""
    lab.write(lab.up(drive, size_gib=1), "first")
    [first] = lab.down(drive).snapshots
    mark(lab, first.id)
    lab.write(lab.up(drive), "second")
    lab.down(drive)
    with pytest.raises(NoSuchCopy):
        restore(lab.aws, drive, first.id, lab.story)
    assert observe(lab.aws, drive).lock is None
    assert lab.read(lab.up(drive)) == ["first", "second"]
    lab.down(drive)
