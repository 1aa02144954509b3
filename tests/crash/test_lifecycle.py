"""Whole lives of a drive: nothing is lost, nothing is left."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import Lab, make_lab
from xportal.aws import compute, keys, network, storage, tags
from xportal.aws.devices import DEVICE, DEVICES
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.model import lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveForked, DriveInUse, NoSuchCopy, Refused, SaveIncomplete
from xportal.machine.access import new_claim
from xportal.portal.restore import restore
from xportal.portal.up.plan import Preparation, prepare
from xportal.sandbox.api.server import Cloud
from xportal.spec import DriveSpec, MachineSpec, PortalSpec

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"drive{next(_numbers)}"


def test_three_lives(lab: Lab, drive: str) -> None:
    """What is written in one life is there in the next; each ends with one snapshot more, and no volume or lock."""
    for life in range(1, 4):
        machine = lab.up(drive, size_gib=1)
        assert lab.read(machine) == [f"record {n}" for n in range(1, life)]
        lab.write(machine, f"record {life}")
        left = lab.down(drive)
        assert (left.volumes, left.lock) == ((), None)
        assert [left.generation_of(s) for s in left.snapshots] == list(range(1, life + 1))
        assert {s.state for s in left.snapshots} == {"completed"}


def test_up_is_idempotent(lab: Lab, drive: str) -> None:
    """A second `up` finds the first one's machine."""
    machine = lab.up(drive, size_gib=1)
    assert lab.up(drive).id == machine.id
    lab.down(drive)


def test_dead_machine(lab: Lab, drive: str) -> None:
    """A machine that died with no warning leaves its volume; the next `up` goes on with it."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "before the power went")
    compute.terminate_instance(lab.aws, machine.id)
    again = lab.up(drive)
    assert lab.read(again) == ["before the power went"]
    assert [v.id for v in lab.volumes() if v.tags.get(tags.DRIVE) == drive] == [again.disks[DEVICE]]
    lab.down(drive)


def test_machine_that_does_not_answer(lab: Lab, drive: str) -> None:
    """`down` ends it, and saves the detached volume."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "unseen")
    lab.reachable = False
    left = lab.down(drive)
    assert left.volumes == ()
    lab.reachable = True
    assert lab.read(lab.up(drive)) == ["unseen"]
    lab.down(drive)


def test_delete_on_termination_switched_on_by_hand(lab: Lab, drive: str) -> None:
    """The console can make a machine take its drive with it; `down` sees it before it ends the machine."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    lab.aws.ec2.modify_instance_attribute(
        InstanceId=machine.id,
        BlockDeviceMappings=[{"DeviceName": DEVICE, "Ebs": {"DeleteOnTermination": True}}],
    )
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["kept"]
    lab.down(drive)


def test_snapshot_by_hand_wins(lab: Lab, drive: str) -> None:
    """A volume rescued by hand, snapshot named as the drive and volume deleted, is the newest (xdrive's way)."""
    lab.up(drive, size_gib=1)
    lab.down(drive)
    machine = lab.up(drive)
    lab.write(machine, "rescued")
    compute.terminate_instance(lab.aws, machine.id)
    volume = machine.disks[DEVICE]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    snapshot = storage.create_snapshot(lab.aws, volume, description="by hand", tags={"Name": drive})
    lab.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot.id], WaiterConfig={"Delay": 1})
    storage.delete_volume(lab.aws, volume)
    assert lab.read(lab.up(drive)) == ["rescued"]
    lab.down(drive)


def test_interrupted_down_is_swept(lab: Lab, drive: str) -> None:
    """A `down` cut off right after its snapshot started is finished by a sweep, and only then is the volume gone."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "swept")
    action = lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    assert isinstance(action, p.Terminate)
    lab.lifecycle(drive).settle(p.Goal.SWEEP)
    left = observe(lab.aws, drive)
    assert (left.volumes, left.lock, len(left.snapshots)) == ((), None, 1)
    assert lab.read(lab.up(drive)) == ["swept"]
    lab.down(drive)


def test_up_after_a_down_that_was_cut_off(lab: Lab, drive: str) -> None:
    """A machine whose drive is saved for good is never handed out again: what is done there would be lost."""
    machine = lab.up(drive, size_gib=1)
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    again = lab.up(drive)
    assert again.id != machine.id
    lab.write(again, "work after the cut")
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["work after the cut"]
    lab.down(drive)


def test_down_leaves_a_later_machine_alone(lab: Lab, drive: str) -> None:
    """While `down` waits, another computer brings the drive up: that machine is not what it was asked to end."""
    machine = lab.up(drive, size_gib=1)
    slow = lab.lifecycle(drive)
    slow.settle(p.Goal.DOWN, until=(p.Wait,))
    later = lab.up(drive)
    assert later.id != machine.id
    slow.settle(p.Goal.DOWN)
    found = compute.find_instance(lab.aws, later.id)
    assert found
    assert found.state == "running"
    lab.down(drive)


def test_backup_of_the_root_disk(lab: Lab, drive: str) -> None:
    """A backup of the root disk, with its tags copied, is not mistaken for the drive."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "data")
    [root] = [volume for device, volume in machine.disks.items() if device != DEVICE]
    told = storage.list_volumes(lab.aws, [{"Name": "volume-id", "Values": [root]}])[0].tags
    assert tags.DRIVE not in told
    storage.create_snapshot(lab.aws, root, description="backup", tags={**told, tags.DRIVE: drive})
    assert len(lab.down(drive).snapshots) == 1
    assert lab.read(lab.up(drive)) == ["data"]
    lab.down(drive)


def test_volume_attached_by_hand_to_a_stranger(lab: Lab, drive: str) -> None:
    """The newest data on a rescue machine is not skipped for an older snapshot."""
    lab.up(drive, size_gib=1)
    lab.down(drive)
    machine = lab.up(drive)
    compute.terminate_instance(lab.aws, machine.id)
    volume = machine.disks[DEVICE]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    subnet = next(s for s in network.list_default_subnets(lab.aws) if s.zone == machine.zone)
    request: dict[str, Any] = {"ImageId": machine.image_id, "InstanceType": machine.type, "SubnetId": subnet.id}
    rescue = lab.aws.ec2.run_instances(**request, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    lab.aws.ec2.get_waiter("instance_running").wait(
        Filters=[{"Name": "instance-id", "Values": [rescue]}], WaiterConfig={"Delay": 1}
    )
    lab.aws.ec2.attach_volume(VolumeId=volume, InstanceId=rescue, Device="/dev/sdg")
    with pytest.raises(DriveInUse, match=rescue):
        lab.up(drive)
    compute.terminate_instance(lab.aws, rescue)
    lab.down(drive)


def test_strange_key_pair(lab: Lab, drive: str) -> None:
    """A key pair of the lock's name that is not ours is neither taken for the lock nor deleted."""
    name = lock_name(drive)
    lab.aws.ec2.create_key_pair(KeyName=name)
    lab.down(drive)
    with pytest.raises(DriveInUse, match="key pair"):
        lab.up(drive)
    assert lab.aws.ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"]
    lab.aws.ec2.delete_key_pair(KeyName=name)


def test_architecture_is_remembered(lab: Lab, drive: str) -> None:
    """An arm64 drive whose machine died in its first life comes back on arm64."""
    plan = prepare(lab.aws, PortalSpec(drive, MachineSpec(gpu=False, architecture="arm64"), 1))
    assert isinstance(plan, Preparation)
    machine = lab.up(drive, size_gib=1)
    set_tags(lab.aws, machine.disks[DEVICE], {tags.ARCHITECTURE: "arm64"})
    compute.terminate_instance(lab.aws, machine.id)
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[machine.disks[DEVICE]], WaiterConfig={"Delay": 1})
    again = prepare(lab.aws, PortalSpec(drive, MachineSpec(gpu=False)))
    assert isinstance(again, Preparation)
    assert again.architecture == "arm64"
    lab.down(drive)


def test_lost_answer_of_create_snapshot(lab: Lab, drive: str) -> None:
    """A save whose snapshot exists is not taken twice (I5)."""
    machine = lab.up(drive, size_gib=1)
    volume = observe(lab.aws, drive).volumes[0]
    lifecycle = lab.lifecycle(drive)
    lifecycle.plan(p.Request(p.Goal.DOWN))
    lifecycle._act(p.SaveOnMachine(machine, volume), p.Request(p.Goal.DOWN))
    lifecycle._act(p.SaveOnMachine(machine, volume), p.Request(p.Goal.DOWN))
    assert len(lab.down(drive).snapshots) == 1


def test_somebody_else_is_first(lab: Lab, drive: str) -> None:
    """While another `up` has the lock and no machine yet, ours refuses and changes nothing."""
    rival = new_claim()
    keys.import_key_pair(
        lab.aws,
        lock_name(drive),
        rival.public_key,
        {tags.DRIVE: drive, tags.LAUNCH: rival.launch, tags.HOLDER: "ann@desk"},
    )
    with pytest.raises(DriveInUse, match="ann@desk"):
        lab.up(drive, size_gib=1)
    lock = observe(lab.aws, drive).lock
    assert lock
    assert lock.tags[tags.LAUNCH] == rival.launch
    old = (lab.aws.now() - timedelta(minutes=11)).isoformat()
    set_tags(lab.aws, lock.id, {tags.HEARTBEAT: old})
    lab.up(drive, size_gib=1)  # a lock whose holder is gone is taken over
    lab.down(drive)


def test_fork(lab: Lab, drive: str) -> None:
    """Two volumes of one generation: nothing is chosen for the user."""
    lab.up(drive, size_gib=1)
    snapshot = lab.down(drive).snapshots[0]
    copies = [
        lab.aws.ec2.create_volume(
            AvailabilityZone="us-east-1a",
            SnapshotId=snapshot.id,
            VolumeType="gp3",
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.OURS: "1", tags.DRIVE: drive})}],
        )["VolumeId"]
        for _ in range(2)
    ]
    with pytest.raises(DriveForked) as caught:
        lab.up(drive)
    assert all(copy in caught.value.message for copy in copies)
    assert {v.id for v in observe(lab.aws, drive).volumes} == set(copies)


def test_growing(lab: Lab, drive: str) -> None:
    """A drive grows at the next `up`."""
    lab.up(drive, size_gib=1)
    lab.down(drive)
    lab.up(drive, size_gib=3)
    assert lab.down(drive).snapshots[-1].size_gib == 3


def test_one_security_group(lab: Lab, drive: str) -> None:
    """It is made once per VPC, and open for ssh from this computer alone."""
    lab.up(drive, size_gib=1)
    subnet = network.list_default_subnets(lab.aws)[0]
    group = network.find_security_group(lab.aws, subnet.vpc_id)
    assert group
    rules = lab.aws.ec2.describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]["IpPermissions"]
    assert [(r["FromPort"], r["ToPort"], [i["CidrIp"] for i in r["IpRanges"]]) for r in rules] == [
        (22, 22, ["127.0.0.1/32"])
    ]
    lab.down(drive)


def test_checkpoint(lab: Lab, drive: str) -> None:
    """It holds what was there, permits no deletion, and the work goes on; the next life has what came after it."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "before")
    lab.save(drive)
    lab.write(machine, "after")
    [checkpoint] = observe(lab.aws, drive).snapshots
    assert (checkpoint.state, checkpoint.tags[tags.KIND]) == ("completed", tags.CHECKPOINT)
    assert lab.bytes_of(checkpoint.id) == ["before"]
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["before", "after"]
    lab.down(drive)


def test_restore(lab: Lab, drive: str) -> None:
    """An older copy becomes a generation of its own; what was newest stays in the history, and can be chosen again."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "old")
    lab.down(drive)
    lab.write(lab.up(drive), "new")
    lab.down(drive)
    old, new = sorted(observe(lab.aws, drive).snapshots, key=lambda s: s.started)
    restore(lab.aws, drive, old.id, lab.story)
    assert observe(lab.aws, drive).lock is None
    assert lab.read(lab.up(drive)) == ["old"]
    with pytest.raises(DriveInUse):
        restore(lab.aws, drive, new.id, lab.story)
    lab.down(drive)
    restore(lab.aws, drive, new.id, lab.story)
    assert lab.read(lab.up(drive)) == ["old", "new"]
    lab.down(drive)


def test_restore_at_a_fork(lab: Lab, drive: str) -> None:
    """Two volumes of one generation: the one that the user chooses is gone on from, and both are saved."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "common")
    [first] = lab.down(drive).snapshots
    copies = [
        lab.aws.ec2.create_volume(
            SnapshotId=first.id,
            AvailabilityZone=machine.zone,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.DRIVE: drive, tags.OURS: "1"})}],
        )["VolumeId"]
        for _ in range(2)
    ]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=copies, WaiterConfig={"Delay": 1})
    lab.append(copies[1], "chosen")
    with pytest.raises(DriveForked):
        lab.up(drive)
    restore(lab.aws, drive, copies[1], lab.story)
    assert lab.read(lab.up(drive)) == ["common", "chosen"]
    lab.down(drive)


def test_restore_of_nothing(lab: Lab, drive: str) -> None:
    """An id that is no copy of the drive changes nothing, and leaves no lock."""
    lab.up(drive, size_gib=1)
    before = lab.down(drive)
    with pytest.raises(NoSuchCopy):
        restore(lab.aws, drive, "snap-0", lab.story)
    after = observe(lab.aws, drive)
    assert (after.snapshots, after.lock) == (before.snapshots, None)


def test_discard(lab: Lab, drive: str) -> None:
    """What was written since the drive came up goes, and what was saved before stays."""
    lab.write(lab.up(drive, size_gib=1), "kept")
    lab.down(drive)
    lab.write(lab.up(drive), "thrown away")
    lab.lifecycle(drive).settle(p.Goal.DISCARD)
    left = observe(lab.aws, drive)
    assert (left.volumes, left.lock, len(left.snapshots)) == ((), None, 1)
    assert lab.read(lab.up(drive)) == ["kept"]
    lab.down(drive)


def test_down_without_waiting(lab: Lab, drive: str) -> None:
    """The machine is told to end and the snapshot is on its way; the volume stays until a sweep saw it complete."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "swept later")
    lab.cloud.add_fault("snapshot-slow", seconds=3, count=1)
    lab.lifecycle(drive).settle(p.Goal.DOWN, wait=False)
    left = observe(lab.aws, drive)
    assert [s.tags[tags.KIND] for s in left.snapshots] == [tags.FINAL]
    assert left.volumes
    assert left.live_machine() is None
    lab.lifecycle(drive).settle(p.Goal.SWEEP)
    swept = observe(lab.aws, drive)
    assert (swept.volumes, swept.lock) == ((), None)
    assert lab.read(lab.up(drive)) == ["swept later"]
    lab.down(drive)


def test_a_wait_without_end(cloud: Cloud, drive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that does not move is not waited for for ever: exit 6, with what there is and how to go on."""
    lab = make_lab(cloud, tmp_path, monkeypatch, patience=15.0)
    machine = lab.up(drive, size_gib=1)
    lab.cloud.settings.snapshot_seconds = 3600
    with pytest.raises(SaveIncomplete, match="pending") as caught:
        lab.down(drive)
    lab.cloud.settings.snapshot_seconds = 0.3
    assert caught.value.billed == (f"{machine.disks[DEVICE]} 1 GiB",)
    assert caught.value.hint.startswith(f"xportal down {drive}")


def test_several_drives(lab: Lab, drive: str) -> None:
    """Two drives on one portal: restored, saved and ended together; each on its own elsewhere afterwards."""
    names = (f"{drive}-b", f"{drive}-a")  # devices in this order, locks in that of the names
    drives = tuple(DriveSpec(name, 1) for name in names)
    machine = lab.up(drive, drives=drives)
    assert list(machine.disks)[1:] == list(DEVICES[:2])
    for name, device in zip(names, DEVICES, strict=False):
        lab.append(machine.disks[device], f"on {name}")
    assert lab.up(drive).id == machine.id  # whoever does not name them gets those that are there
    with pytest.raises(Refused, match=names[0]):
        lab.up(drive, drives=drives[:1])
    with pytest.raises(DriveInUse):
        lab.up("other", drives=drives[:1])
    lab.down(drive)

    left = [observe(lab.aws, name) for name in names]
    finals = [drive.newest_snapshot() for drive in left]
    assert [(d.volumes, d.lock) for d in left] == [((), None)] * 2
    assert len({s.tags[tags.SET] for s in finals if s}) == 1
    assert [lab.bytes_of(s.id) for s in finals if s] == [[f"on {name}"] for name in names]

    again = lab.up("other", drives=drives[::-1])
    assert [lab.bytes_of(again.disks[d]) for d in DEVICES[:2]] == [[f"on {name}"] for name in names[::-1]]
    compute.terminate_instance(lab.aws, again.id)
    lab.down("other")
    assert [observe(lab.aws, name).volumes for name in names] == [(), ()]


def test_several_drives_or_none(lab: Lab, drive: str) -> None:
    """One of them is in use elsewhere: the other's lock is given back, and nothing is launched."""
    a, b = DriveSpec(f"{drive}-a", 1), DriveSpec(f"{drive}-b", 1)
    machine = lab.up(drive, drives=(b,))
    with pytest.raises(DriveInUse, match=machine.id):
        lab.up("other", drives=(a, b))
    free = observe(lab.aws, a.name)
    assert (free.lock, free.volumes) == (None, ())
    lab.down(drive)


def test_several_drives_of_a_cut_launch(lab: Lab, drive: str) -> None:
    """A launch that never told its disks apart, and whose machine died: each is known by its snapshot."""
    names = (f"{drive}-a", f"{drive}-b")
    drives = tuple(DriveSpec(name, 1) for name in names)
    machine = lab.up(drive, drives=drives)
    for name, device in zip(names, DEVICES, strict=False):
        lab.append(machine.disks[device], f"on {name}")
    lab.down(drive)
    again = lab.up(drive, drives=drives)
    for volume in (again.disks[d] for d in DEVICES[:2]):
        for key in (tags.GENERATION, tags.NAME):
            delete_tag(lab.aws, volume, key)
        set_tags(lab.aws, volume, {tags.DRIVE: ",".join(names)})
    assert lab.up(drive).id == again.id  # adopted, and its disks told apart
    told = [observe(lab.aws, name).volumes[0] for name in names]
    assert [v.tags[tags.GENERATION] for v in told] == ["2", "2"]
    for again_told in told:
        delete_tag(lab.aws, again_told.id, tags.GENERATION)
        set_tags(lab.aws, again_told.id, {tags.DRIVE: ",".join(names)})
    compute.terminate_instance(lab.aws, again.id)
    lab.down(drive)
    for name in names:
        state = observe(lab.aws, name)
        newest = state.newest_snapshot()
        assert newest
        assert (lab.bytes_of(newest.id), state.volumes) == ([f"on {name}"], ())


def test_several_drives_are_one_checkpoint(lab: Lab, drive: str) -> None:
    """A checkpoint of a portal is one set of all its drives."""
    names = (f"{drive}-a", f"{drive}-b")
    lab.up(drive, drives=tuple(DriveSpec(name, 1) for name in names))
    lab.save(drive)
    taken = [observe(lab.aws, name).snapshots for name in names]
    assert [len(one) for one in taken] == [1, 1]
    assert len({s.tags[tags.SET] for [s] in taken}) == 1
    lab.down(drive)
