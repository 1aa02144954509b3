"""Whole lives of a drive: nothing is lost, nothing is left."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tests.crash.conftest import Bench
from xportal.aws import compute, keys, network, storage, tags
from xportal.aws.tagging import set_tags
from xportal.drive import plan as p
from xportal.drive.model import DEVICE, lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveForked, DriveInUse
from xportal.machine.access import new_claim

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"drive{next(_numbers)}"


def test_three_lives(bench: Bench, drive: str) -> None:
    """What is written in one life is there in the next; each ends with one snapshot more, and no volume or lock."""
    for life in range(1, 4):
        machine = bench.up(drive, size_gib=1)
        assert bench.read(machine) == [f"record {n}" for n in range(1, life)]
        bench.write(machine, f"record {life}")
        left = bench.down(drive)
        assert (left.volumes, left.lock) == ((), None)
        assert [left.generation_of(s) for s in left.snapshots] == list(range(1, life + 1))
        assert {s.state for s in left.snapshots} == {"completed"}


def test_up_is_idempotent(bench: Bench, drive: str) -> None:
    """A second `up` finds the first one's machine."""
    machine = bench.up(drive, size_gib=1)
    assert bench.up(drive).id == machine.id
    bench.down(drive)


def test_dead_machine(bench: Bench, drive: str) -> None:
    """A machine that died with no warning leaves its volume; the next `up` saves it first and goes on from it."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "before the power went")
    compute.terminate_instance(bench.aws, machine.id)
    again = bench.up(drive)
    assert bench.read(again) == ["before the power went"]
    assert [v.id for v in bench.volumes() if v.tags.get(tags.DRIVE) == drive] == [again.disks[DEVICE]]
    bench.down(drive)


def test_machine_that_does_not_answer(bench: Bench, drive: str) -> None:
    """`down` ends it, and saves the detached volume."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "unseen")
    bench.reachable = False
    left = bench.down(drive)
    assert left.volumes == ()
    bench.reachable = True
    assert bench.read(bench.up(drive)) == ["unseen"]
    bench.down(drive)


def test_delete_on_termination_switched_on_by_hand(bench: Bench, drive: str) -> None:
    """The console can make a machine take its drive with it; `down` sees it before it ends the machine."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    bench.aws.ec2.modify_instance_attribute(
        InstanceId=machine.id,
        BlockDeviceMappings=[{"DeviceName": DEVICE, "Ebs": {"DeleteOnTermination": True}}],
    )
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["kept"]
    bench.down(drive)


def test_snapshot_by_hand_wins(bench: Bench, drive: str) -> None:
    """A volume rescued by hand, snapshot named as the drive and volume deleted, is the newest (xdrive's way)."""
    bench.up(drive, size_gib=1)
    bench.down(drive)
    machine = bench.up(drive)
    bench.write(machine, "rescued")
    compute.terminate_instance(bench.aws, machine.id)
    volume = machine.disks[DEVICE]
    bench.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    snapshot = storage.create_snapshot(bench.aws, volume, description="by hand", tags={"Name": drive})
    bench.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot.id], WaiterConfig={"Delay": 1})
    storage.delete_volume(bench.aws, volume)
    assert bench.read(bench.up(drive)) == ["rescued"]
    bench.down(drive)


def test_interrupted_down_is_swept(bench: Bench, drive: str) -> None:
    """A `down` cut off right after its snapshot started is finished by a sweep, and only then is the volume gone."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "swept")
    action = bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    assert isinstance(action, p.Terminate)
    assert bench.lifecycle(drive).plan(p.Goal.SWEEP) == p.Done()  # the machine lives: not a sweep's business
    compute.terminate_instance(bench.aws, machine.id)
    bench.lifecycle(drive).settle(p.Goal.SWEEP)
    left = observe(bench.aws, drive)
    assert (left.volumes, left.lock, len(left.snapshots)) == ((), None, 1)
    assert bench.read(bench.up(drive)) == ["swept"]
    bench.down(drive)


def test_lost_answer_of_create_snapshot(bench: Bench, drive: str) -> None:
    """A save whose snapshot exists is not taken twice (I5)."""
    machine = bench.up(drive, size_gib=1)
    volume = observe(bench.aws, drive).volumes[0]
    lifecycle = bench.lifecycle(drive)
    lifecycle.plan(p.Goal.DOWN)
    lifecycle._act(p.SaveOnMachine(machine, volume))
    lifecycle._act(p.SaveOnMachine(machine, volume))
    assert len(bench.down(drive).snapshots) == 1


def test_somebody_else_is_first(bench: Bench, drive: str) -> None:
    """While another `up` has the lock and no machine yet, ours refuses and changes nothing."""
    rival = new_claim()
    bench.claims.append(rival)
    keys.import_key_pair(
        bench.aws,
        lock_name(drive),
        rival.public_key,
        {tags.DRIVE: drive, tags.LAUNCH: rival.launch, tags.HOLDER: "ann@desk"},
    )
    with pytest.raises(DriveInUse, match="ann@desk"):
        bench.up(drive, size_gib=1)
    lock = observe(bench.aws, drive).lock
    assert lock
    assert lock.tags[tags.LAUNCH] == rival.launch
    old = (bench.aws.now() - timedelta(minutes=11)).isoformat()
    set_tags(bench.aws, lock.id, {tags.HEARTBEAT: old})
    bench.up(drive, size_gib=1)  # a lock whose holder is gone is taken over
    bench.down(drive)


def test_fork(bench: Bench, drive: str) -> None:
    """Two volumes of one generation: nothing is chosen for the user."""
    bench.up(drive, size_gib=1)
    snapshot = bench.down(drive).snapshots[0]
    copies = [
        bench.aws.ec2.create_volume(
            AvailabilityZone="us-east-1a",
            SnapshotId=snapshot.id,
            VolumeType="gp3",
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_aws({tags.OURS: "1", tags.DRIVE: drive})}],
        )["VolumeId"]
        for _ in range(2)
    ]
    with pytest.raises(DriveForked) as caught:
        bench.up(drive)
    assert all(copy in caught.value.message for copy in copies)
    assert {v.id for v in observe(bench.aws, drive).volumes} == set(copies)


def test_growing(bench: Bench, drive: str) -> None:
    """A drive grows at the next `up`."""
    bench.up(drive, size_gib=1)
    bench.down(drive)
    bench.up(drive, size_gib=3)
    assert bench.down(drive).snapshots[-1].size_gib == 3


def test_one_security_group(bench: Bench, drive: str) -> None:
    """It is made once per VPC, and open for ssh from this computer alone."""
    bench.up(drive, size_gib=1)
    subnet = network.list_default_subnets(bench.aws)[0]
    group = network.find_security_group(bench.aws, subnet.vpc_id)
    rules = bench.aws.ec2.describe_security_groups(GroupIds=[group or ""])["SecurityGroups"][0]["IpPermissions"]
    assert [(r["FromPort"], r["ToPort"], [i["CidrIp"] for i in r["IpRanges"]]) for r in rules] == [
        (22, 22, ["127.0.0.1/32"])
    ]
    bench.down(drive)
