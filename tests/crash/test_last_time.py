"""A plain `up` is as last time: what the tags of machines and copies tell, whatever became of machine and copies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.crash.conftest import FileAgent, Lab
from xportal.aws import compute, storage, tags
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.console import Console
from xportal.errors import DriveInUse, Refused
from xportal.portal.last_time import LastTime, from_tags, to_tags
from xportal.portal.remember import carry_on, find_last_time, recall, remember
from xportal.portal.reporting import last_time_report
from xportal.portal.restore import restore
from xportal.portal.status import list_portal
from xportal.portal.up import find_or_launch
from xportal.spec import DriveSpec, MachineSpec, PortalSpec, UnattendedSpec


def up(lab: Lab, portal: str, *drives: str, alone: UnattendedSpec = UnattendedSpec(), **machine: Any) -> Instance:
    """What `up` does with these options until ssh."""
    asked = PortalSpec(portal, MachineSpec(**machine), drives=tuple(map(DriveSpec, drives)), alone=alone)
    lab.story.lines.clear()
    spec = recall(lab.aws, asked, lab.story)
    up_on, _ = find_or_launch(lab.aws, spec, lab.story, FileAgent(lab))
    remember(lab.aws, up_on, spec, lab.story)
    return up_on


def told(lab: Lab) -> list[str]:
    """What was said of the last time."""
    return [line for line in lab.story.lines if "as last time" in line or "left out" in line]


def last(lab: Lab, portal: str) -> LastTime:
    """What the tags tell."""
    found = find_last_time(lab.aws, portal, lab.story.warn)
    assert found
    return found


def cut_power(lab: Lab, machine: Instance) -> None:
    """The machine is gone without a word, its volumes stay."""
    compute.terminate_instance(lab.aws, machine.id)


def test_after_a_down_everything_is_as_last_time(lab: Lab, drive: str) -> None:
    """Both drives in their order, and the GPU: said in one line, and told by each drive's newest copy."""
    data = f"{drive}-data"
    up(lab, drive, drive, data, gpu=True, alone=UnattendedSpec(idle_minutes=30.0))
    assert told(lab) == []
    lab.down(drive)
    for name in (drive, data):
        [final] = storage.list_snapshots(lab.aws, tags.tag_filter(name=name))
        assert from_tags(final.tags, drive) == last(lab, drive)
    [row] = list_portal(lab.aws, drive, lab.story.warn)
    assert (row.state, row.last_time) == ("down", last_time_report(last(lab, drive)))

    again = up(lab, drive)
    assert tags.drive_names(again.tags) == (drive, data)
    assert again.type.startswith("g")
    assert told(lab) == [f"as last time: --drive {drive} --drive {data} --gpu --idle-minutes 30"]
    lab.down(drive)


def test_after_a_power_cut_everything_is_as_last_time(lab: Lab, drive: str) -> None:
    """The volumes tell it, in the same zone and once they are saved; without the lock, too."""
    data = f"{drive}-data"
    cut_power(lab, up(lab, drive, drive, data, gpu=False))
    again = up(lab, drive)
    assert tags.drive_names(again.tags) == (drive, data)
    cut_power(lab, again)
    lab.down(drive)
    assert tags.drive_names(up(lab, drive).tags) == (drive, data)
    lab.down(drive)


def test_a_portal_without_a_drive_of_its_name_is_found(lab: Lab, drive: str) -> None:
    """Its drives tell of it, whatever they are called."""
    up(lab, drive, f"{drive}-a", f"{drive}-b")
    lab.down(drive)
    assert tags.drive_names(up(lab, drive).tags) == (f"{drive}-a", f"{drive}-b")
    lab.down(drive)


def test_options_win_and_are_remembered_from_then_on(lab: Lab, drive: str) -> None:
    """Each on its own; what they do not say stays."""
    up(lab, drive, drive, f"{drive}-data", gpu=True, alone=UnattendedSpec(idle_minutes=30.0))
    lab.down(drive)
    assert up(lab, drive, gpu=False).type.startswith("t")
    assert told(lab)[0].endswith("; what the command line says wins")
    lab.down(drive)
    assert (last(lab, drive).gpu, last(lab, drive).idle_minutes) == (False, 30.0)
    up(lab, drive, drive)
    lab.down(drive)
    assert last(lab, drive).drives == (drive,)
    assert tags.drive_names(up(lab, drive).tags) == (drive,)
    lab.down(drive)


def test_settings_of_a_machine_that_is_up_are_remembered(lab: Lab, drive: str) -> None:
    """On the machine and each of its volumes; a plain `up` writes nothing, and asks no more of a machine that is up."""
    machine = up(lab, drive, drive, f"{drive}-data", gpu=True)
    up(lab, drive, alone=UnattendedSpec(idle_minutes=5.0))
    assert last(lab, drive).idle_minutes == 5.0
    volumes = [v for v in storage.list_volumes(lab.aws, []) if v.id in machine.disks.values() and tags.NAME in v.tags]
    assert [from_tags(v.tags, drive) for v in volumes] == [last(lab, drive)] * 2
    before = last(lab, drive)
    up(lab, drive)
    assert last(lab, drive) == before
    set_tags(lab.aws, machine.id, to_tags(LastTime(drive, lab.aws.now(), before.drives, gpu=False)))
    assert up(lab, drive).id == machine.id
    with pytest.raises(Refused, match="it has a GPU"):
        up(lab, drive, gpu=False)
    lab.down(drive)


def test_a_machine_that_is_of_no_use_is_followed_by_one_like_it(lab: Lab, drive: str) -> None:
    """Its volume was taken off: `up` ends it, and the next has its GPU and drives."""
    machine = up(lab, drive, gpu=True)
    lab.aws.ec2.detach_volume(VolumeId=machine.disks["/dev/sdf"])
    again = up(lab, drive)
    assert again.id != machine.id
    assert again.type.startswith("g")
    lab.down(drive)


def test_a_drive_that_two_portals_use_by_turns(lab: Lab, drive: str) -> None:
    """Each portal is as it was itself, also when the drive's newest copy is the other one's."""
    shared, one, two = f"{drive}-shared", f"{drive}-one", f"{drive}-two"
    up(lab, one, shared, f"{one}-own", gpu=True)
    lab.down(one)
    up(lab, two, shared, gpu=False)
    with pytest.raises(DriveInUse, match=two):
        up(lab, one)
    lab.down(two)
    assert tags.drive_names(up(lab, one).tags) == (shared, f"{one}-own")
    lab.down(one)
    again = up(lab, two)
    assert (tags.drive_names(again.tags), again.type[0]) == ((shared,), "t")
    lab.down(two)


def test_a_restored_copy_does_not_turn_the_portal_back(lab: Lab, drive: str) -> None:
    """It is data of before: the portal is as it was at its last `up`."""
    up(lab, drive, gpu=True)
    lab.down(drive)
    [first] = storage.list_snapshots(lab.aws, tags.tag_filter(name=drive))
    up(lab, drive, drive, f"{drive}-data", gpu=False)
    lab.down(drive)
    restore(lab.aws, drive, first.id, Console())
    again = up(lab, drive)
    assert (tags.drive_names(again.tags), again.type[0]) == ((drive, f"{drive}-data"), "t")
    lab.down(drive)


def test_missing_and_senseless_tags_are_passed_over(lab: Lab, drive: str) -> None:
    """What another copy tells counts; then nothing does, and the portal is as if it were new. No warning of what is
    only missing.
    """
    up(lab, drive, gpu=True)
    lab.down(drive)
    up(lab, drive)
    lab.down(drive)
    older, newest = sorted(
        storage.list_snapshots(lab.aws, tags.tag_filter(name=drive)), key=lambda s: s.tags[tags.GENERATION]
    )
    delete_tag(lab.aws, newest.id, tags.REMEMBERED)
    assert last(lab, drive).gpu is True
    later = to_tags(LastTime(drive, lab.aws.now() + timedelta(days=1), (drive,), gpu=False))
    wrong = {tags.REMEMBERED: f'{{"portal":"{drive}","at":"soon"}}'}
    foreign = to_tags(LastTime(drive, lab.aws.now(), ("elsewhere",), gpu=False))
    for words in (later, wrong, foreign):
        set_tags(lab.aws, newest.id, words)
        lab.story.lines.clear()
        assert last(lab, drive).gpu is True
        assert [newest.id in line for line in told(lab)] == [True]
    delete_tag(lab.aws, older.id, tags.REMEMBERED)
    assert up(lab, drive).type.startswith("t")
    lab.down(drive)


def test_a_volume_that_lost_its_tags_is_saved_with_those_of_its_machine(lab: Lab, drive: str) -> None:
    """By hand, while the machine runs."""
    machine = up(lab, drive, drive, f"{drive}-data")
    volume = machine.disks["/dev/sdf"]
    [there] = storage.list_volumes(lab.aws, [{"Name": "volume-id", "Values": [volume]}])
    for key in there.tags:
        delete_tag(lab.aws, volume, key)
    final = lab.down(drive).newest_snapshot()
    assert final
    assert from_tags(final.tags, drive) == last(lab, drive)


def test_what_a_watch_brings_up_is_not_what_a_person_asked_for(lab: Lab, drive: str) -> None:
    """Its next machines are of its own choice, and carry on what is remembered; without that, they carry nothing."""
    up(lab, drive, gpu=True)
    lab.down(drive)
    before = last(lab, drive)
    wanted = carry_on(lab.aws, PortalSpec(drive, MachineSpec(gpu=False)), lab.story)
    machine, _ = find_or_launch(lab.aws, wanted, lab.story, FileAgent(lab))
    remember(lab.aws, machine, wanted, lab.story)
    assert machine.type.startswith("t")
    assert from_tags(machine.tags, drive) == before
    lab.down(drive)
    assert last(lab, drive) == before
    assert carry_on(lab.aws, PortalSpec(f"{drive}-new"), lab.story).remembered == {}
