"""`drives prune` and `drives delete`: what goes is what was named, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.conftest import Lab
from tests.crash.meanwhile import before_call
from xportal.aws import tags
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.aws.records import Snapshot, Volume
from xportal.drive.keep import Keep
from xportal.drive.observe import observe
from xportal.errors import DriveInUse, NoSuchCopy, Refused
from xportal.portal.delete import delete, find_copies
from xportal.portal.prune import find_needless, prune
from xportal.portal.restore import restore

LAST = Keep(last=1)


def live(lab: Lab, drive: str, *records: str) -> list[Snapshot]:
    """A life for each record; the final saves."""
    for record in records:
        lab.write(lab.up(drive, size_gib=1), record)
        lab.down(drive)
    return sorted(observe(lab.aws, drive).snapshots, key=lambda s: s.started)


def test_prune(lab: Lab, drive: str) -> None:
    """The oldest go, as was told before, but for one that AWS does not delete; the newest data comes up, and can be
    pruned meanwhile.
    """
    first, second, third = live(lab, drive, "one", "two", "three")
    told = find_needless(lab.aws, drive, LAST)
    assert (told.kept, [copy.id for copy in told.deleted]) == (1, [first.id, second.id])

    def refuse(_: object) -> None:
        raise AwsError("somebody's image has it", code="InvalidSnapshot.InUse", operation="DeleteSnapshot")

    with before_call(lab.aws, "DeleteSnapshot", refuse):
        assert [copy.id for copy in prune(lab.aws, drive, LAST, lab.story).deleted] == [second.id]
    assert any(f"{first.id} stays: somebody made an image of it" in line for line in lab.story.lines)
    assert prune(lab.aws, drive, LAST, lab.story).deleted == ()
    machine = lab.up(drive)
    assert lab.read(machine) == ["one", "two", "three"]
    prune(lab.aws, drive, LAST, lab.story)
    assert {s.id for s in observe(lab.aws, drive).snapshots} == {first.id, third.id}
    lab.write(machine, "four")
    lab.down(drive)
    assert [copy.id for copy in prune(lab.aws, drive, LAST, lab.story).deleted] == [third.id]
    report = delete(lab.aws, drive, {s.id for s in observe(lab.aws, drive).snapshots}, lab.story)
    assert [copy.id for copy in report.left] == [first.id]


def test_a_copy_that_is_chosen_meanwhile(lab: Lab, drive: str) -> None:
    """Right before a prune marks it: it stays. Right after that: the choice is refused, and what counted counts."""
    first, second = live(lab, drive, "one", "two")
    with before_call(lab.aws, "CreateTags", lambda _: restore(lab.aws, drive, first.id, lab.story)):
        prune(lab.aws, drive, LAST, lab.story)
    assert observe(lab.aws, drive).newest_snapshot() == find(lab, drive, first.id)

    def choose(_: object) -> None:
        with pytest.raises(NoSuchCopy):
            restore(lab.aws, drive, second.id, lab.story)

    with before_call(lab.aws, "DeleteSnapshot", choose):
        prune(lab.aws, drive, LAST, lab.story)
    assert lab.read(lab.up(drive)) == ["one"]
    lab.down(drive)


def find(lab: Lab, drive: str, id_: str) -> Volume | Snapshot | None:
    """A copy as it is now."""
    return observe(lab.aws, drive).find_copy(id_)


def test_delete(lab: Lab, drive: str) -> None:
    """While it is awake it is refused; what came after the user was asked is not given up; what was made by hand stays.
    All else goes, and other drives stay.
    """
    [first] = live(lab, drive, "one")
    [other] = live(lab, f"{drive}-other", "other")
    asked = find_copies(lab.aws, drive)
    machine = lab.up(drive)
    with pytest.raises(DriveInUse):
        delete(lab.aws, drive, {first.id, machine.disks[DEVICE]}, lab.story)
    assert not any(tags.MARKED in copy.tags for copy in observe(lab.aws, drive).copies)
    lab.write(machine, "two")
    named: Any = [{"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": drive}]}]
    by_hand = lab.aws.ec2.create_snapshot(VolumeId=machine.disks[DEVICE], TagSpecifications=named)["SnapshotId"]
    lab.write(machine, "three")
    lab.down(drive)
    with pytest.raises(Refused, match="after you were asked"):
        delete(lab.aws, drive, {copy.id for copy in asked.deleted}, lab.story)
    assert observe(lab.aws, drive).lock is None

    told = find_copies(lab.aws, drive)
    report = delete(lab.aws, drive, {copy.id for copy in told.deleted}, lab.story)
    assert report.deleted == told.deleted
    assert [copy.id for copy in report.left] == [copy.id for copy in told.left] == [by_hand]
    assert observe(lab.aws, f"{drive}-other").snapshots == (other,)
    assert lab.read(lab.up(drive)) == ["one", "two"]
    lab.down(drive)
