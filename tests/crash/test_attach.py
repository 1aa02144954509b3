"""A volume that outlived its machine is attached to the next one in its zone, and nothing is lost thereby."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crash.conftest import Bench, FileAgent
from xportal.aws import compute, tags
from xportal.aws.devices import DEVICE, DEVICES
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import attach
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.observe import observe
from xportal.drive.snapshots import Snapshots
from xportal.machine.access import new_claim
from xportal.portal.up import find_or_launch
from xportal.spec import DriveSpec, MachineSpec, PortalSpec

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"attach{next(_numbers)}"


def interrupt(bench: Bench, machine: Instance, device: str = DEVICE) -> str:
    """The machine is gone; the id of its volume, detached."""
    compute.terminate_instance(bench.aws, machine.id)
    volume = machine.disks[device]
    bench.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    return volume


@contextmanager
def full_zone(bench: Bench, zone: str) -> Iterator[None]:
    """No machine is to be had in a zone."""
    bench.cloud.add_fault("capacity", zone=zone)
    try:
        yield
    finally:
        bench.cloud.clear_faults()


def test_same_zone(bench: Bench, drive: str) -> None:
    """The same volume, one generation more, with all that was written, and no snapshot was taken for it."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "before the end")
    volume = interrupt(bench, machine)
    again = bench.up(drive)
    assert (again.disks[DEVICE], again.zone) == (volume, machine.zone)
    assert tags.AWAITS not in again.tags
    seen = observe(bench.aws, drive)
    assert (seen.snapshots, [seen.generation_of(v) for v in seen.volumes]) == ((), [2])
    assert bench.read(again) == ["before the end"]
    bench.write(again, "after it")
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["before the end", "after it"]
    bench.down(drive)


def test_volume_with_a_complete_final_save(bench: Bench, drive: str) -> None:
    """Some command may have decided to delete it, however long ago: the drive goes on from the save."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "first")
    assert isinstance(bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.DeleteVolume,)), p.DeleteVolume)
    again = bench.up(drive)
    assert again.disks[DEVICE] != machine.disks[DEVICE]
    bench.write(again, "second")
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["first", "second"]
    bench.down(drive)


def leave_pending_final(bench: Bench, drive: str) -> tuple[Instance, str]:
    """A machine that saved by itself as it ended, and its volume; AWS works on the snapshot for ever."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "first")
    bench.cloud.add_fault("snapshot-stuck", count=1)
    bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    return machine, interrupt(bench, machine)


def test_final_save_that_is_pending(bench: Bench, drive: str) -> None:
    """Nobody can have relied on it: it is taken back, the volume attached, and what is written then saved anew."""
    machine, volume = leave_pending_final(bench, drive)
    again = bench.up(drive)
    assert again.disks[DEVICE] == volume == machine.disks[DEVICE]
    [taken_back] = observe(bench.aws, drive).snapshots
    assert taken_back.tags[tags.KIND] == tags.CHECKPOINT
    bench.cloud.clear_faults()
    bench.write(again, "second")
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["first", "second"]
    bench.down(drive)


def test_final_save_that_is_complete_as_it_is_taken_back(
    bench: Bench, drive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was quicker than `up`: it stays final, and the drive goes on from it at once, on another volume."""
    _, volume = leave_pending_final(bench, drive)
    [final] = observe(bench.aws, drive).snapshots
    by_id = {"SnapshotIds": [final.id], "WaiterConfig": {"Delay": 1}}

    def recovers() -> None:
        bench.cloud.clear_faults()
        bench.aws.ec2.get_waiter("snapshot_completed").wait(**by_id)  # type: ignore[arg-type]

    monkeypatch.setattr(attach, "wait_for_lists", recovers)
    again = bench.up(drive)
    assert again.disks[DEVICE] != volume
    assert bench.read(again) == ["first"]
    assert [s.id for s in observe(bench.aws, drive).snapshots] == [final.id]
    bench.down(drive)


@pytest.mark.parametrize("told", ["", "1"], ids=["deleted", "lowered"])
def test_generation_edited_by_hand(bench: Bench, drive: str, told: str) -> None:
    """Even if somebody undoes the new generation, what was saved before does not permit to delete the volume."""
    interrupt(bench, bench.up(drive, size_gib=1))
    again = bench.up(drive)
    bench.write(again, "second")
    if told:
        set_tags(bench.aws, again.disks[DEVICE], {tags.GENERATION: told})
    else:
        delete_tag(bench.aws, again.disks[DEVICE], tags.GENERATION)
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["second"]
    bench.down(drive)


def test_generation_deleted_after_a_checkpoint(bench: Bench, drive: str) -> None:
    """What was written after a checkpoint comes after it, also if nothing tells any more that the volume was raised."""
    interrupt(bench, bench.up(drive, size_gib=1))
    again = bench.up(drive)
    bench.write(again, "first")
    bench.save(drive)
    bench.write(again, "second")
    delete_tag(bench.aws, again.disks[DEVICE], tags.GENERATION)
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["first", "second"]
    bench.down(drive)


@pytest.mark.parametrize("told", ["", "1"], ids=["deleted", "lowered"])
def test_late_final_save_of_an_earlier_life(bench: Bench, drive: str, told: str) -> None:
    """A `down` slept before its CreateSnapshot: the snapshot is of a volume that lives again, and permits no deletion,
    not even if somebody undoes the new generation.
    """
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "first")
    interrupt(bench, machine)
    [volume] = observe(bench.aws, drive).volumes
    slow = Snapshots(bench.aws, FileAgent(bench), bench.story)
    asleep = slow._moment(observe(bench.aws, drive), volume, None)
    again = bench.up(drive)
    for volume_id, its_tags in asleep.items():
        slow._seal(volume_id, its_tags)
    slow._create_snapshots(asleep, None, {tags.KIND: tags.FINAL})
    time.sleep(1)  # snapshots of one generation and one second are not in order
    bench.write(again, "second")
    if told:
        set_tags(bench.aws, volume.id, {tags.GENERATION: told})
    else:
        delete_tag(bench.aws, volume.id, tags.GENERATION)
    interrupt(bench, again)
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["first", "second"]
    bench.down(drive)


def test_other_zone(bench: Bench, drive: str) -> None:
    """Where the volume's zone has no machine, it is saved, and restored in another zone."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "moved")
    volume = interrupt(bench, machine)
    with full_zone(bench, machine.zone):
        again = bench.up(drive)
    assert again.zone != machine.zone
    assert again.disks[DEVICE] != volume
    assert bench.read(again) == ["moved"]
    bench.down(drive)


def test_volume_that_is_to_grow(bench: Bench, drive: str) -> None:
    """A volume is attached as it is: with a larger --size it is restored."""
    machine = bench.up(drive, size_gib=1)
    volume = interrupt(bench, machine)
    again = bench.up(drive, size_gib=2)
    assert again.disks[DEVICE] != volume
    bench.down(drive)


def launch_without(bench: Bench, drive: str) -> Instance:
    """An `up` that was cut off after its launch, before it attached anything: its machine."""
    before = {m.id for m in compute.list_instances(bench.aws, tags.drive_filter(drive))}
    bench.cloud.add_fault("error", operations=["AttachVolume"])
    with pytest.raises(AwsError):
        bench.up(drive)
    bench.cloud.clear_faults()
    [left] = [m for m in compute.list_instances(bench.aws, tags.drive_filter(drive)) if m.id not in before]
    assert tags.AWAITS in left.tags
    return left


def test_up_that_was_cut_off_before_it_attached(bench: Bench, drive: str) -> None:
    """The next `up`, from anywhere, goes on with its machine."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    interrupt(bench, machine)
    left = launch_without(bench, drive)
    again = bench.up(drive)
    assert again.id == left.id
    assert bench.read(again) == ["kept"]
    bench.down(drive)


def test_down_of_a_machine_that_awaits_its_volume(bench: Bench, drive: str) -> None:
    """It ends the machine before it saves the volume, and nothing is left."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "kept")
    interrupt(bench, machine)
    launch_without(bench, drive)
    action = bench.lifecycle(drive).plan(p.Request(p.Goal.DOWN))
    assert isinstance(action, p.Terminate)
    left = bench.down(drive)
    assert (left.volumes, left.lock) == ((), None)
    assert bench.read(bench.up(drive)) == ["kept"]
    bench.down(drive)


def test_volume_deleted_by_hand_meanwhile(bench: Bench, drive: str) -> None:
    """A machine that can never get its volume is ended by the next `up`, which goes on from what there is."""
    machine = bench.up(drive, size_gib=1)
    volume = interrupt(bench, machine)
    left = launch_without(bench, drive)
    bench.aws.ec2.delete_volume(VolumeId=volume)
    bench.aws.ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    again = bench.up(drive)
    assert again.id != left.id
    assert bench.read(again) == []
    bench.down(drive)


def test_slow_snapshot_of_a_volume_that_is_in_use_again(bench: Bench, drive: str) -> None:
    """A `down` that was about to save the detached volume, and was slower than an `up`: its snapshot is not final."""
    machine = bench.up(drive, size_gib=1)
    interrupt(bench, machine)
    slow = Lifecycle(bench.aws, drive, portal=drive, agent=FileAgent(bench), progress=bench.story, lock=new_claim())
    action = slow.plan(p.Request(p.Goal.SWEEP))
    assert isinstance(action, p.SnapshotVolume)
    again = bench.up(drive)
    slow._act(action, p.Request(p.Goal.SWEEP))
    bench.write(again, "written meanwhile")
    bench.down(drive)
    assert bench.read(bench.up(drive)) == ["written meanwhile"]
    bench.down(drive)


def test_two_drives_are_attached_together_or_not_at_all(bench: Bench, drive: str) -> None:
    """Both volumes left: both attached. One of them saved and gone: both restored."""
    names = (drive, f"{drive}b")
    spec = PortalSpec(drive, MachineSpec(gpu=False), drives=tuple(DriveSpec(name, 1) for name in names))

    def up() -> Instance:
        return find_or_launch(bench.aws, spec, bench.story, FileAgent(bench))[0]

    machine = up()
    volumes = {device: interrupt(bench, machine, device) for device in DEVICES[:2]}
    again = up()
    assert {device: again.disks[device] for device in DEVICES[:2]} == volumes
    assert [observe(bench.aws, n).generation_of(observe(bench.aws, n).volumes[0]) for n in names] == [2, 2]
    volumes = {device: interrupt(bench, again, device) for device in DEVICES[:2]}
    bench.lifecycle(names[1]).settle(p.Goal.SWEEP)
    third = up()
    assert not set(volumes.values()) & set(third.disks.values())
    bench.down(drive)
