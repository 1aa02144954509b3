"""Several drives on one machine: what ends the machine for one of them loses nothing of the others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.crash.conftest import Bench, FileAgent
from xportal.aws import compute, tags
from xportal.aws.devices import DEVICES
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive.observe import observe
from xportal.errors import DriveForked
from xportal.portal.down import down
from xportal.portal.restoring import restore
from xportal.spec import DriveSpec


def bring_up(bench: Bench, drive: str) -> Instance:
    """A machine with the drives DRIVE-a and DRIVE-b, and a record on each."""
    drives = (DriveSpec(f"{drive}-a", 1), DriveSpec(f"{drive}-b", 1))
    machine = bench.up(drive, drives=drives)
    for wanted, device in zip(drives, DEVICES, strict=False):
        bench.append(machine.disks[device], f"on {wanted.name}")
    return machine


def newest_of(bench: Bench, name: str) -> list[str]:
    """The records in a drive's newest snapshot; no volume is left of it."""
    left = observe(bench.aws, name)
    newest = left.newest_snapshot()
    assert newest
    assert (left.volumes, left.lock) == ((), None)
    return bench.bytes_of(newest.id)


def test_delete_on_termination_of_the_other_drive(bench: Bench) -> None:
    """Switched on by hand for the second drive: the first drive's save ends the machine, and takes nothing with it."""
    machine = bring_up(bench, "switched")
    bench.aws.ec2.modify_instance_attribute(
        InstanceId=machine.id,
        BlockDeviceMappings=[{"DeviceName": DEVICES[1], "Ebs": {"DeleteOnTermination": True}}],
    )
    bench.reachable = False
    bench.down("switched")
    assert newest_of(bench, "switched-a") == ["on switched-a"]
    assert newest_of(bench, "switched-b") == ["on switched-b"]


def test_lost_tags_of_the_other_drive(bench: Bench) -> None:
    """The second drive's volume lost its tags: they are put back before the machine ends for the first one."""
    machine = bring_up(bench, "bare")
    for key in (tags.DRIVE, tags.NAME, tags.GENERATION, tags.PORTAL):
        delete_tag(bench.aws, machine.disks[DEVICES[1]], key)
    bench.reachable = False
    bench.down("bare")
    assert newest_of(bench, "bare-b") == ["on bare-b"]


def test_discard_with_a_forked_drive(bench: Bench) -> None:
    """All or nothing: while the user has to choose a copy of one drive, the others are not given up."""
    machine = bring_up(bench, "undecided")
    bench.aws.ec2.create_volume(
        AvailabilityZone=machine.zone,
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.DRIVE: "undecided-b"})}],
    )
    with pytest.raises(DriveForked, match="undecided-b"):
        down(bench.aws, "undecided", bench.story, FileAgent(bench), discard=True)
    found = compute.find_instance(bench.aws, machine.id)
    assert found
    assert found.state == "running"
    bench.down("undecided")


def test_disks_that_nothing_tells_apart(bench: Bench) -> None:
    """Two new drives whose launch was cut, and whose machine died: the user chooses, and each stays what was chosen."""
    machine = bring_up(bench, "cut")
    for device in DEVICES[:2]:
        set_tags(bench.aws, machine.disks[device], {tags.DRIVE: "cut-a,cut-b"})
        for key in (tags.NAME, tags.GENERATION):
            delete_tag(bench.aws, machine.disks[device], key)
    compute.terminate_instance(bench.aws, machine.id)
    bench.aws.ec2.get_waiter("volume_available").wait(VolumeIds=list(machine.disks.values())[1:])
    with pytest.raises(DriveForked):
        bench.up("cut", drives=(DriveSpec("cut-a"), DriveSpec("cut-b")))
    restore(bench.aws, "cut-a", machine.disks[DEVICES[0]], bench.story)
    bench.down("cut")
    assert newest_of(bench, "cut-a") == ["on cut-a"]
    assert newest_of(bench, "cut-b") == ["on cut-b"]


def test_tags_copied_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """CreateSnapshots copies the tags of the volumes as they were: each snapshot is its drive's all the same."""
    machine = bring_up(bench, "copied")
    for device in DEVICES[:2]:
        set_tags(bench.aws, machine.disks[device], {tags.DRIVE: "copied-a,copied-b", tags.NAME: ""})
        delete_tag(bench.aws, machine.disks[device], tags.GENERATION)

    def late(aws: Aws, resource_id: str, told: Mapping[str, str]) -> None:
        if resource_id.startswith("snap-"):
            set_tags(aws, resource_id, told)

    with monkeypatch.context() as lagging:
        lagging.setattr("xportal.drive.lifecycle.set_tags", late)
        bench.save("copied")
    assert [len(observe(bench.aws, name).snapshots) for name in ("copied-a", "copied-b")] == [1, 1]
    bench.down("copied")
