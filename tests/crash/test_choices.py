"""What the user chose is what happens: no less when AWS shows it late, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.crash.conftest import Lab
from xportal.aws import storage, tags
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.portal.restore import restore


def as_it_was(seconds: float) -> Callable[[Aws, str], Drive]:
    """`observe`, as of a copy of AWS's data that is `seconds` behind."""
    seen: list[tuple[float, Drive]] = []

    def look(aws: Aws, name: str) -> Drive:
        seen.append((time.monotonic(), observe(aws, name)))
        return next((drive for at, drive in reversed(seen) if time.monotonic() - at > seconds), seen[0][1])

    return look


def test_restore_with_tags_shown_late(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS lists tags and locks for some seconds as they were: that is waited for, and no failure."""
    lab.write(lab.up("late", size_gib=1), "old")
    [old] = lab.down("late").snapshots
    lab.write(lab.up("late"), "new")
    lab.down("late")
    with monkeypatch.context() as lagging:
        lagging.setattr("xportal.drive.choose.observe", as_it_was(3.0))
        restore(lab.aws, "late", old.id, lab.story)
    assert observe(lab.aws, "late").lock is None
    assert lab.read(lab.up("late")) == ["old"]
    lab.down("late")


def test_discard_takes_one_volume(lab: Lab) -> None:
    """Only the newest copy is given up: a volume behind it, of which nothing is saved, is a sweep's to save."""
    machine = lab.up("two", size_gib=1)
    [first] = lab.down("two").snapshots
    behind, chosen = [
        lab.aws.ec2.create_volume(
            SnapshotId=first.id,
            AvailabilityZone=machine.zone,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.DRIVE: "two", tags.OURS: "1"})}],
        )["VolumeId"]
        for _ in range(2)
    ]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[behind, chosen], WaiterConfig={"Delay": 1})
    lab.append(behind, "saved nowhere else")
    restore(lab.aws, "two", chosen, lab.story)
    lab.lifecycle("two").settle(p.Goal.DISCARD)
    assert [v.id for v in observe(lab.aws, "two").volumes] == [behind]
    lab.lifecycle("two").settle(p.Goal.SWEEP)
    assert lab.read(lab.up("two")) == ["saved nowhere else"]
    lab.down("two")
    assert storage.list_volumes(lab.aws, tags.tag_filter(drive="two")) == []
