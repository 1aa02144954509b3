"""Several drives on one machine: what ends the machine for one of them loses nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import FileAgent, Lab
from tests.crash.meanwhile import before_call
from xportal.aws import compute, tags
from xportal.aws.devices import DEVICES
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive.observe import observe
from xportal.errors import DriveForked
from xportal.portal.down import down
from xportal.portal.restore import restore
from xportal.portal.save import save
from xportal.spec import DriveSpec


def bring_up(lab: Lab, drive: str) -> Instance:
    """A machine with the drives DRIVE-a and DRIVE-b, and a record on each."""
    drives = (DriveSpec(f"{drive}-a", 1), DriveSpec(f"{drive}-b", 1))
    machine = lab.up(drive, drives=drives)
    for wanted, device in zip(drives, DEVICES, strict=False):
        lab.append(machine.disks[device], f"on {wanted.name}")
    return machine


def newest_of(lab: Lab, name: str) -> list[str]:
    """The records in a drive's newest snapshot; no volume is left of it."""
    left = observe(lab.aws, name)
    newest = left.newest_snapshot()
    assert newest
    assert (left.volumes, left.lock) == ((), None)
    return lab.bytes_of(newest.id)


def test_delete_on_termination_of_the_other_drive(lab: Lab) -> None:
    """Switched on by hand for the second drive: the first drive's save ends the machine, and takes nothing with it."""
    machine = bring_up(lab, "switched")
    lab.aws.ec2.modify_instance_attribute(
        InstanceId=machine.id,
        BlockDeviceMappings=[{"DeviceName": DEVICES[1], "Ebs": {"DeleteOnTermination": True}}],
    )
    lab.reachable = False
    lab.down("switched")
    assert newest_of(lab, "switched-a") == ["on switched-a"]
    assert newest_of(lab, "switched-b") == ["on switched-b"]


def test_lost_tags_of_the_other_drive(lab: Lab) -> None:
    """The second drive's volume lost its tags: they are put back before the machine ends for the first one."""
    machine = bring_up(lab, "bare")
    for key in (tags.DRIVE, tags.NAME, tags.GENERATION, tags.PORTAL):
        delete_tag(lab.aws, machine.disks[DEVICES[1]], key)
    lab.reachable = False
    lab.down("bare")
    assert newest_of(lab, "bare-b") == ["on bare-b"]


def test_discard_with_a_forked_drive(lab: Lab) -> None:
    """All or nothing: while the user has to choose a copy of one drive, the others are not given up."""
    machine = bring_up(lab, "undecided")
    lab.aws.ec2.create_volume(
        AvailabilityZone=machine.zone,
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.DRIVE: "undecided-b"})}],
    )
    with pytest.raises(DriveForked, match="undecided-b"):
        down(lab.aws, "undecided", lab.story, FileAgent(lab), discard=True)
    found = compute.find_instance(lab.aws, machine.id)
    assert found
    assert found.state == "running"
    lab.down("undecided")


def test_disks_that_nothing_tells_apart(lab: Lab) -> None:
    """Two new drives whose launch was cut, and whose machine died: the user chooses, and each stays what was chosen."""
    machine = bring_up(lab, "cut")
    for device in DEVICES[:2]:
        set_tags(lab.aws, machine.disks[device], {tags.DRIVE: "cut-a,cut-b"})
        for key in (tags.NAME, tags.GENERATION):
            delete_tag(lab.aws, machine.disks[device], key)
    compute.terminate_instance(lab.aws, machine.id)
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=list(machine.disks.values())[1:])
    with pytest.raises(DriveForked):
        lab.up("cut", drives=(DriveSpec("cut-a"), DriveSpec("cut-b")))
    restore(lab.aws, "cut-a", machine.disks[DEVICES[0]], lab.story)
    lab.down("cut")
    assert newest_of(lab, "cut-a") == ["on cut-a"]
    assert newest_of(lab, "cut-b") == ["on cut-b"]


def test_tags_copied_late(lab: Lab) -> None:
    """CreateSnapshots copies the tags of the volumes as they were: each snapshot is its drive's all the same."""
    machine = bring_up(lab, "copied")
    for device in DEVICES[:2]:
        set_tags(lab.aws, machine.disks[device], {tags.DRIVE: "copied-a,copied-b", tags.NAME: ""})
        delete_tag(lab.aws, machine.disks[device], tags.GENERATION)

    def forget(params: Mapping[str, Any], **_: object) -> Any:
        """The tags of volumes show after the save: as if the call had not been made, which is answered here."""
        return (SimpleNamespace(status_code=200), {}) if params["body"]["ResourceId.1"].startswith("vol-") else None

    lab.aws.ec2.meta.events.register("before-call.ec2.CreateTags", forget)
    lab.save("copied")
    lab.aws.ec2.meta.events.unregister("before-call.ec2.CreateTags", forget)
    assert [len(observe(lab.aws, name).snapshots) for name in ("copied-a", "copied-b")] == [1, 1]
    lab.down("copied")


def attach_strange(lab: Lab, machine: Instance, told: Mapping[str, str]) -> str:
    """Somebody attaches a volume of their own to a machine. Its id."""
    made = lab.aws.ec2.create_volume(
        AvailabilityZone=machine.zone, Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws(told)}]
    )
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[made["VolumeId"]], WaiterConfig={"Delay": 1})
    lab.aws.ec2.attach_volume(VolumeId=made["VolumeId"], InstanceId=machine.id, Device="/dev/sdp")
    return made["VolumeId"]


@pytest.mark.parametrize("when", ["while it saves", "right before the call"])
@pytest.mark.parametrize("verb", ["down", "save"])
def test_a_volume_that_was_attached_meanwhile(lab: Lab, when: str, verb: str) -> None:
    """Of another drive, as its tags say: the drives are saved, and nothing of ours is left that says it is saved."""
    name = f"strange{verb}{len(when)}"
    told = {tags.NAME: "c", tags.DRIVE: "c", tags.GENERATION: "7", tags.OURS: "1"}
    machine = bring_up(lab, name)
    found: list[str] = []

    def attach(_: object = None) -> None:
        if not found:
            found.append(attach_strange(lab, machine, told))

    agent = FileAgent(lab, attach) if when == "while it saves" else FileAgent(lab)
    with before_call(lab.aws, "CreateSnapshots", attach):
        act: Callable[..., object] = down if verb == "down" else save
        act(lab.aws, name, lab.story, agent)
    [strange] = found
    assert lab.aws.ec2.describe_snapshots(Filters=[{"Name": "volume-id", "Values": [strange]}])["Snapshots"] == []
    for drive, device in zip((f"{name}-a", f"{name}-b"), DEVICES, strict=False):
        [taken] = observe(lab.aws, drive).snapshots
        assert taken.volume_id == machine.disks[device]
        assert taken.tags[tags.KIND] == {"down": tags.FINAL, "save": tags.CHECKPOINT}[verb]
    if verb == "save":
        lab.down(name)
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[strange], WaiterConfig={"Delay": 1})
    lab.aws.ec2.delete_volume(VolumeId=strange)


def test_a_snapshot_that_was_taken_by_mistake_and_cannot_be_deleted(lab: Lab) -> None:
    """Who may not delete snapshots is told which one stays, and everything is saved all the same."""
    machine = bring_up(lab, "kept")
    found: list[str] = []

    def attach(_: object) -> None:
        found.append(attach_strange(lab, machine, {"Name": "x"}))

    def refuse(_: object) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "DeleteSnapshot")

    with before_call(lab.aws, "CreateSnapshots", attach), before_call(lab.aws, "DeleteSnapshot", refuse, times=1000):
        lab.down("kept")
    assert newest_of(lab, "kept-b") == ["on kept-b"]
    assert any(found[0] in line and "stays" in line for line in lab.story.lines), lab.story.lines
    [left] = lab.aws.ec2.describe_snapshots(Filters=[{"Name": "volume-id", "Values": found}])["Snapshots"]
    lab.aws.ec2.delete_snapshot(SnapshotId=left["SnapshotId"])
    lab.aws.ec2.delete_volume(VolumeId=found[0])
