"""Snapshots that another portal's machine forged: they neither end nor replace anybody's data.

A machine's role may call CreateSnapshot on volumes of xportal, with any tags and any description. So what is forged
here is made by API calls, with all that the role could know: everything that is on snapshots.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from tests.crash.conftest import Lab
from tests.crash.test_attach import interrupt
from xportal.agent.full.proofs import proof_of
from xportal.aws import storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, Snapshot
from xportal.aws.tagging import set_tags
from xportal.drive import plan as p
from xportal.drive.made import Description
from xportal.drive.observe import observe
from xportal.errors import DriveForked
from xportal.machine.access import get_host_key
from xportal.portal.restore import restore

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"forged{next(_numbers)}"


def forge(lab: Lab, drive: str, volume: str, generation: int, kind: str = tags.FINAL, **more: str) -> str:
    """A snapshot as a machine's role could make it; its id, once it is complete."""
    told = {tags.NAME: drive, tags.OURS: "1", tags.DRIVE: drive, tags.GENERATION: str(generation), tags.KIND: kind}
    made = storage.create_snapshot(
        lab.aws, volume, description=str(Description({drive: generation}, kind)), tags={**told, **more}
    )
    lab.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[made.id], WaiterConfig={"Delay": 1})
    return made.id


def save_as_machine(lab: Lab, drive: str, machine: Instance) -> str:
    """What the agent does at a notice, after the unmount: the final save, with the proof."""
    launch = machine.tags[tags.LAUNCH]
    proof = proof_of(get_host_key(launch).private, drive)
    volume = machine.disks[DEVICE]
    generation = observe(lab.aws, drive).generation_of(storage.list_volumes(lab.aws, by_id(volume))[0])
    own = {tags.LAUNCH: launch, tags.PROOF: proof, tags.FOLLOWED: tags.NOBODY, tags.SAVE: "notice-1"}
    return forge(lab, drive, volume, generation, **own)


def by_id(volume: str) -> list[Any]:
    """A filter."""
    return [{"Name": "volume-id", "Values": [volume]}]


def strangers_volume(lab: Lab, record: str) -> str:
    """The volume of another portal's machine."""
    made = lab.aws.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3")["VolumeId"]
    lab.aws.ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig={"Delay": 1})
    lab.append(made, record)
    return str(made)


def tags_of_snapshots(lab: Lab, drive: str) -> Mapping[str, str]:
    """All that is told to who may list snapshots, the later ones' words before the earlier ones'."""
    return {key: value for s in observe(lab.aws, drive).snapshots for key, value in s.tags.items()}


@pytest.mark.parametrize("command", ["down", "up"])
@pytest.mark.parametrize("launch", ["told", "not told"])
def test_a_forged_final_save_ends_no_work(lab: Lab, drive: str, command: str, launch: str) -> None:
    """A snapshot of a drive in use that says it was its last, even with the launch: the work goes on, and is saved."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "before")
    own = {tags.LAUNCH: machine.tags[tags.LAUNCH]} if launch == "told" else {}
    forge(lab, drive, machine.disks[DEVICE], 1, **{tags.PROOF: "guessed", **own})
    lab.write(machine, "after")
    if command == "up":
        assert lab.up(drive).id == machine.id  # it is neither saved nor ended
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["before", "after"]
    lab.down(drive)


@pytest.mark.parametrize("command", ["down", "up"])
def test_a_forged_final_save_deletes_no_volume(lab: Lab, drive: str, command: str) -> None:
    """The machine is gone without a save: its volume is saved before it is deleted, whatever somebody's snapshot says.

    The proofs of an earlier life are known to everybody who may list snapshots, and prove nothing.
    """
    lab.up(drive, size_gib=1)
    lab.down(drive)
    machine = lab.up(drive)
    lab.write(machine, "before")
    known = tags_of_snapshots(lab, drive)
    forge(lab, drive, machine.disks[DEVICE], 2, **{**known, tags.LAUNCH: machine.tags[tags.LAUNCH]})
    lab.write(machine, "after")
    interrupt(lab, machine)
    if command == "down":
        lab.down(drive)
    assert lab.read(lab.up(drive)) == ["before", "after"]
    lab.down(drive)


def test_the_machine_s_own_final_save_counts(lab: Lab, drive: str) -> None:
    """It shows what that machine alone knows: no other snapshot is taken. And it shows nothing for a later life."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    own = save_as_machine(lab, drive, machine)
    assert observe(lab.aws, drive).is_saved(machine)
    interrupt(lab, machine)
    assert [s.id for s in lab.down(drive).snapshots] == [own]
    again = lab.up(drive)
    assert lab.read(again) == ["first"]
    proof = observe(lab.aws, drive).snapshots[0].tags[tags.PROOF]
    told = {tags.PROOF: proof, tags.LAUNCH: again.tags[tags.LAUNCH]}
    forge(lab, drive, again.disks[DEVICE], 2, **told)
    assert not observe(lab.aws, drive).is_saved(again)
    lab.down(drive)


def test_an_attached_volume_has_the_seal_of_its_new_machine(lab: Lab, drive: str) -> None:
    """The final save of the machine that it was attached to counts, and no proof of the life before does."""
    first = lab.up(drive, size_gib=1)
    interrupt(lab, first)
    again = lab.up(drive)
    assert again.disks[DEVICE] == first.disks[DEVICE]
    lab.write(again, "second")
    old = {tags.PROOF: proof_of(get_host_key(first.tags[tags.LAUNCH]).private, drive)}
    forge(lab, drive, again.disks[DEVICE], 2, **{**old, tags.LAUNCH: again.tags[tags.LAUNCH]})
    assert not observe(lab.aws, drive).is_saved(again)
    save_as_machine(lab, drive, again)
    assert observe(lab.aws, drive).is_saved(again)
    lab.down(drive)


FORGED = ("of the next generation", "of generation 99", "without a generation")


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_newest_copy_is_not_booted(lab: Lab, drive: str, forged: str) -> None:
    """What no up and no restore led to is refused, both copies are named, and either can be chosen for good."""
    lab.write(lab.up(drive, size_gib=1), "mine")
    [mine] = lab.down(drive).snapshots
    volume = strangers_volume(lab, "theirs")
    theirs = forge_newest(lab, drive, volume, forged, mine)
    with pytest.raises(DriveForked) as refused:
        lab.up(drive)
    assert mine.id in refused.value.message
    assert theirs in refused.value.message
    assert f"xportal drives restore {drive} {mine.id}" in refused.value.hint
    assert {s.id for s in lab.down(drive).snapshots} == {mine.id, theirs}  # which changes nothing of it
    for chosen, record in ((theirs, "theirs"), (mine.id, "mine")):
        restore(lab.aws, drive, chosen, lab.story)
        assert lab.read(lab.up(drive)) == [record]
        lab.down(drive)


def forge_newest(lab: Lab, drive: str, volume: str, how: str, mine: Snapshot) -> str:
    """A snapshot of a stranger's volume that is the drive's newest copy."""
    if how == FORGED[2]:
        by_name = {"ResourceType": "snapshot", "Tags": tags.to_aws({tags.NAME: drive})}
        made = lab.aws.ec2.create_snapshot(VolumeId=volume, TagSpecifications=[by_name])["SnapshotId"]  # type: ignore[list-item]
        lab.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[made], WaiterConfig={"Delay": 1})
        return made
    return forge(
        lab,
        drive,
        volume,
        2 if how == FORGED[0] else 99,
        **{tags.FOLLOWED: tags.NOBODY, tags.PROOF: mine.tags[tags.PROOF]},
    )


def test_a_forged_newest_copy_while_the_drive_is_in_use(lab: Lab, drive: str) -> None:
    """Of its own volume, too, as it was hours ago: the save that comes later is not put behind it."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "first")
    theirs = forge(lab, drive, machine.disks[DEVICE], 98, **{tags.FOLLOWED: tags.NOBODY})
    lab.write(machine, "second")
    assert lab.up(drive).id == machine.id
    left = lab.down(drive)
    assert left.volumes == ()
    assert lab.read(lab.up(drive)) == ["first", "second"]
    assert theirs in {s.id for s in left.snapshots}
    lab.down(drive)


def test_no_up_asks_for_what_xportal_did_itself(lab: Lab, drive: str) -> None:
    """Lives, checkpoints, volumes attached again, copies chosen and discarded: each next `up` goes on unasked."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "1")
    lab.save(drive)
    interrupt(lab, machine)
    lab.write(lab.up(drive), "2")
    first = lab.down(drive).newest_snapshot()
    assert first
    assert lab.read(lab.up(drive)) == ["1", "2"]
    lab.down(drive)
    restore(lab.aws, drive, first.id, lab.story)
    assert lab.read(lab.up(drive)) == ["1", "2"]
    lab.lifecycle(drive).settle(p.Goal.DISCARD)
    seen = observe(lab.aws, drive)
    newest = seen.newest_snapshot()
    assert newest
    assert newest in seen.to_be_followed(99)  # as nobody has gone on from it in the end
    assert lab.read(lab.up(drive)) == ["1", "2"]
    lab.save(drive)
    lab.lifecycle(drive).settle(p.Goal.DISCARD)  # and its checkpoint stays
    assert lab.read(lab.up(drive)) == ["1", "2"]
    lab.down(drive)


def test_the_last_word_of_a_discard_comes_late(lab: Lab, drive: str) -> None:
    """Its command slept after the deletion, and somebody went on meanwhile: the next `up` goes on unasked."""
    lab.write(lab.up(drive, size_gib=1), "1")
    [first] = lab.down(drive).snapshots
    discarded = lab.up(drive).disks[DEVICE]
    lab.lifecycle(drive).settle(p.Goal.DISCARD)
    lab.aws.ec2.delete_tags(Resources=[first.id], Tags=[{"Key": tags.GIVEN_UP}])
    lab.write(lab.up(drive), "2")
    lab.down(drive)
    set_tags(lab.aws, first.id, {tags.GIVEN_UP: discarded})
    assert lab.read(lab.up(drive)) == ["1", "2"]
    lab.down(drive)


def test_a_forged_copy_after_a_discard(lab: Lab, drive: str) -> None:
    """What was discarded leads to nothing: a newer snapshot is refused."""
    lab.write(lab.up(drive, size_gib=1), "mine")
    [mine] = lab.down(drive).snapshots
    lab.up(drive)
    lab.lifecycle(drive).settle(p.Goal.DISCARD)
    forge_newest(lab, drive, strangers_volume(lab, "theirs"), FORGED[1], mine)
    with pytest.raises(DriveForked):
        lab.up(drive)
    restore(lab.aws, drive, mine.id, lab.story)
    assert lab.read(lab.up(drive)) == ["mine"]
    lab.down(drive)


def test_copies_of_before_tell_nothing(lab: Lab, drive: str) -> None:
    """A drive whose copies an older xportal made, without these tags, comes up unasked."""
    lab.write(lab.up(drive, size_gib=1), "old")
    [old] = lab.down(drive).snapshots
    lab.aws.ec2.delete_tags(Resources=[old.id], Tags=[{"Key": tags.FOLLOWED}, {"Key": tags.PROOF}])
    again = lab.up(drive)
    lab.aws.ec2.delete_tags(Resources=[again.disks[DEVICE]], Tags=[{"Key": tags.SEAL}])
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["old"]
    lab.down(drive)


def test_a_late_word_of_an_earlier_life_is_no_word(lab: Lab, drive: str) -> None:
    """What is said on a volume of one unmount does not hold for its next life."""
    machine = lab.up(drive, size_gib=1)
    interrupt(lab, machine)
    [volume] = observe(lab.aws, drive).volumes
    set_tags(lab.aws, volume.id, {tags.UNMOUNTED: "stale"})
    again = lab.up(drive)
    [volume] = observe(lab.aws, drive).volumes
    assert volume.tags[tags.UNMOUNTED] == ""
    assert volume.tags[tags.SEAL] == again.tags[tags.SEAL]
    lab.down(drive)
