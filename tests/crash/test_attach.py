"""A volume that outlived its machine is attached to the next one in its zone, and nothing is lost thereby."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crash.conftest import FileAgent, Lab
from tests.crash.meanwhile import before_call
from xportal.aws import compute, storage, tags
from xportal.aws.devices import DEVICE, DEVICES
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.observe import observe
from xportal.drive.snapshots import Snapshots
from xportal.machine.access import new_claim
from xportal.portal.restore import restore
from xportal.portal.up import find_or_launch
from xportal.spec import DriveSpec, MachineSpec, PortalSpec

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"attach{next(_numbers)}"


def interrupt(lab: Lab, machine: Instance, device: str = DEVICE) -> str:
    """The machine is gone; the id of its volume, detached."""
    compute.terminate_instance(lab.aws, machine.id)
    volume = machine.disks[device]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    return volume


@contextmanager
def full_zone(lab: Lab, zone: str) -> Iterator[None]:
    """No machine is to be had in a zone."""
    lab.cloud.add_fault("capacity", zone=zone)
    try:
        yield
    finally:
        lab.cloud.clear_faults()


def test_same_zone(lab: Lab, drive: str) -> None:
    """The same volume, one generation more, with all that was written, and no snapshot was taken for it."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "before the end")
    volume = interrupt(lab, machine)
    again = lab.up(drive)
    assert (again.disks[DEVICE], again.zone) == (volume, machine.zone)
    assert tags.AWAITS not in again.tags
    seen = observe(lab.aws, drive)
    assert (seen.snapshots, [seen.generation_of(v) for v in seen.volumes]) == ((), [2])
    assert lab.read(again) == ["before the end"]
    lab.write(again, "after it")
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["before the end", "after it"]
    lab.down(drive)


def test_volume_with_a_complete_final_save(lab: Lab, drive: str) -> None:
    """Some command may have decided to delete it, however long ago: the drive goes on from the save."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    assert isinstance(lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.DeleteVolume,)), p.DeleteVolume)
    again = lab.up(drive)
    assert again.disks[DEVICE] != machine.disks[DEVICE]
    lab.write(again, "second")
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["first", "second"]
    lab.down(drive)


def leave_pending_final(lab: Lab, drive: str) -> tuple[Instance, str]:
    """A machine that saved by itself as it ended, and its volume; AWS works on the snapshot for ever."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    lab.cloud.add_fault("snapshot-stuck", count=1)
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    return machine, interrupt(lab, machine)


def test_final_save_that_is_pending(lab: Lab, drive: str) -> None:
    """Nobody can have relied on it: it is taken back, the volume attached, and what is written then saved anew."""
    machine, volume = leave_pending_final(lab, drive)
    again = lab.up(drive)
    assert again.disks[DEVICE] == volume == machine.disks[DEVICE]
    [taken_back] = observe(lab.aws, drive).snapshots
    assert taken_back.tags[tags.KIND] == tags.CHECKPOINT
    lab.cloud.clear_faults()
    lab.write(again, "second")
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["first", "second"]
    lab.down(drive)


def test_final_save_that_is_complete_as_it_is_taken_back(lab: Lab, drive: str) -> None:
    """It was quicker than `up`: it stays final, and the drive goes on from it at once, on another volume."""
    _, volume = leave_pending_final(lab, drive)
    [final] = observe(lab.aws, drive).snapshots
    by_id = {"SnapshotIds": [final.id], "WaiterConfig": {"Delay": 1}}

    def recovers(_: object) -> bool:
        [snapshot] = storage.list_snapshots(lab.aws, [{"Name": "snapshot-id", "Values": [final.id]}])
        if snapshot.tags[tags.KIND] != tags.WITHDRAWN:
            return False
        lab.cloud.clear_faults()
        lab.aws.ec2.get_waiter("snapshot_completed").wait(**by_id)  # type: ignore[arg-type]
        return True

    with before_call(lab.aws, "DescribeSnapshots", recovers):
        again = lab.up(drive)
    assert again.disks[DEVICE] != volume
    assert lab.read(again) == ["first"]
    assert [s.id for s in observe(lab.aws, drive).snapshots] == [final.id]
    lab.down(drive)


@pytest.mark.parametrize("told", ["", "1"], ids=["deleted", "lowered"])
def test_generation_edited_by_hand(lab: Lab, drive: str, told: str) -> None:
    """Even if somebody undoes the new generation, what was saved before does not permit to delete the volume."""
    interrupt(lab, lab.up(drive, size_gib=1))
    again = lab.up(drive)
    lab.write(again, "second")
    if told:
        set_tags(lab.aws, again.disks[DEVICE], {tags.GENERATION: told})
    else:
        delete_tag(lab.aws, again.disks[DEVICE], tags.GENERATION)
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["second"]
    lab.down(drive)


def test_generation_deleted_after_a_checkpoint(lab: Lab, drive: str) -> None:
    """What was written after a checkpoint comes after it, also if nothing tells any more that the volume was raised."""
    interrupt(lab, lab.up(drive, size_gib=1))
    again = lab.up(drive)
    lab.write(again, "first")
    lab.save(drive)
    lab.write(again, "second")
    delete_tag(lab.aws, again.disks[DEVICE], tags.GENERATION)
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["first", "second"]
    lab.down(drive)


@pytest.mark.parametrize("told", ["", "1"], ids=["deleted", "lowered"])
def test_late_final_save_of_an_earlier_life(lab: Lab, drive: str, told: str) -> None:
    """A `down` slept before its CreateSnapshot: the snapshot is of a volume that lives again, and permits no deletion,
    not even if somebody undoes the new generation.
    """
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    interrupt(lab, machine)
    [volume] = observe(lab.aws, drive).volumes
    slow = Snapshots(lab.aws, FileAgent(lab), lab.story)
    asleep = slow._moment(observe(lab.aws, drive), volume, None)
    again = lab.up(drive)
    for volume_id, its_tags in asleep.items():
        slow._seal(volume_id, its_tags)
    slow._create_snapshots(asleep, None, {tags.KIND: tags.FINAL})
    time.sleep(1)  # snapshots of one generation and one second are not in order
    lab.write(again, "second")
    if told:
        set_tags(lab.aws, volume.id, {tags.GENERATION: told})
    else:
        delete_tag(lab.aws, volume.id, tags.GENERATION)
    interrupt(lab, again)
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["first", "second"]
    lab.down(drive)


@pytest.mark.parametrize("is_deleted", [False, True], ids=["volume there", "volume deleted"])
def test_late_final_save_after_a_choice(lab: Lab, drive: str, is_deleted: bool) -> None:
    """A command slept before its CreateSnapshot, and the user has chosen an older copy meanwhile: that is gone on from,
    though the snapshot says that nobody went on after it.
    """
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    lab.down(drive)
    [first] = observe(lab.aws, drive).snapshots
    machine = lab.up(drive)
    lab.write(machine, "second")
    interrupt(lab, machine)
    [volume] = observe(lab.aws, drive).volumes
    slow = Snapshots(lab.aws, FileAgent(lab), lab.story)
    asleep = slow._moment(observe(lab.aws, drive), volume, None)
    restore(lab.aws, drive, first.id, lab.story)
    for volume_id, its_tags in asleep.items():
        slow._seal(volume_id, its_tags)
    slow._create_snapshots(asleep, None, {tags.KIND: tags.FINAL})
    if is_deleted:
        assert lab.down(drive).volumes == ()
        assert observe(lab.aws, drive).volumes == ()
    assert lab.read(lab.up(drive)) == ["first"]
    lab.down(drive)


def test_other_zone(lab: Lab, drive: str) -> None:
    """Where the volume's zone has no machine, it is saved, and restored in another zone."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "moved")
    volume = interrupt(lab, machine)
    with full_zone(lab, machine.zone):
        again = lab.up(drive)
    assert again.zone != machine.zone
    assert again.disks[DEVICE] != volume
    assert lab.read(again) == ["moved"]
    lab.down(drive)


def test_volume_that_is_to_grow(lab: Lab, drive: str) -> None:
    """A volume is attached as it is: with a larger --size it is restored."""
    machine = lab.up(drive, size_gib=1)
    volume = interrupt(lab, machine)
    again = lab.up(drive, size_gib=2)
    assert again.disks[DEVICE] != volume
    lab.down(drive)


def launch_without(lab: Lab, drive: str) -> Instance:
    """An `up` that was cut off after its launch, before it attached anything: its machine."""
    before = {m.id for m in compute.list_instances(lab.aws, tags.drive_filter(drive))}
    lab.cloud.add_fault("error", operations=["AttachVolume"])
    with pytest.raises(AwsError):
        lab.up(drive)
    lab.cloud.clear_faults()
    [left] = [m for m in compute.list_instances(lab.aws, tags.drive_filter(drive)) if m.id not in before]
    assert tags.AWAITS in left.tags
    return left


def test_up_that_was_cut_off_before_it_attached(lab: Lab, drive: str) -> None:
    """The next `up`, from anywhere, goes on with its machine."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    interrupt(lab, machine)
    left = launch_without(lab, drive)
    again = lab.up(drive)
    assert again.id == left.id
    assert lab.read(again) == ["kept"]
    lab.down(drive)


def test_down_of_a_machine_that_awaits_its_volume(lab: Lab, drive: str) -> None:
    """It ends the machine before it saves the volume, and nothing is left."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "kept")
    interrupt(lab, machine)
    launch_without(lab, drive)
    action = lab.lifecycle(drive).plan(p.Request(p.Goal.DOWN))
    assert isinstance(action, p.Terminate)
    left = lab.down(drive)
    assert (left.volumes, left.lock) == ((), None)
    assert lab.read(lab.up(drive)) == ["kept"]
    lab.down(drive)


def test_volume_deleted_by_hand_meanwhile(lab: Lab, drive: str) -> None:
    """A machine that can never get its volume is ended by the next `up`, which goes on from what there is."""
    machine = lab.up(drive, size_gib=1)
    volume = interrupt(lab, machine)
    left = launch_without(lab, drive)
    lab.aws.ec2.delete_volume(VolumeId=volume)
    lab.aws.ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    again = lab.up(drive)
    assert again.id != left.id
    assert lab.read(again) == []
    lab.down(drive)


def test_slow_snapshot_of_a_volume_that_is_in_use_again(lab: Lab, drive: str) -> None:
    """A `down` that was about to save the detached volume, and was slower than an `up`: its snapshot is not final."""
    machine = lab.up(drive, size_gib=1)
    interrupt(lab, machine)
    slow = Lifecycle(lab.aws, drive, portal=drive, agent=FileAgent(lab), progress=lab.story, lock=new_claim())
    action = slow.plan(p.Request(p.Goal.SWEEP))
    assert isinstance(action, p.SnapshotVolume)
    again = lab.up(drive)
    slow._act(action, p.Request(p.Goal.SWEEP))
    lab.write(again, "written meanwhile")
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["written meanwhile"]
    lab.down(drive)


def test_two_drives_are_attached_together_or_not_at_all(lab: Lab, drive: str) -> None:
    """Both volumes left: both attached. One of them saved and gone: both restored."""
    names = (drive, f"{drive}b")
    spec = PortalSpec(drive, MachineSpec(gpu=False), drives=tuple(DriveSpec(name, 1) for name in names))

    def up() -> Instance:
        return find_or_launch(lab.aws, spec, lab.story, FileAgent(lab))[0]

    machine = up()
    volumes = {device: interrupt(lab, machine, device) for device in DEVICES[:2]}
    again = up()
    assert {device: again.disks[device] for device in DEVICES[:2]} == volumes
    assert [observe(lab.aws, n).generation_of(observe(lab.aws, n).volumes[0]) for n in names] == [2, 2]
    volumes = {device: interrupt(lab, again, device) for device in DEVICES[:2]}
    lab.lifecycle(names[1]).settle(p.Goal.SWEEP)
    third = up()
    assert not set(volumes.values()) & set(third.disks.values())
    lab.down(drive)
