"""A plain `up` is as last time: what the tags of machines and copies tell, whatever became of machine and copies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.crash.conftest import Bench, FileAgent
from xportal.aws import compute, storage, tags
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.console import Console
from xportal.errors import DriveInUse, Refused
from xportal.portal.last_time import LastTime, from_tags, to_tags
from xportal.portal.remember import carry_on, find_last_time, recall, remember
from xportal.portal.restore import restore
from xportal.portal.status import list_portal
from xportal.portal.up import find_or_launch
from xportal.spec import AloneSpec, DriveSpec, MachineSpec, PortalSpec


def up(bench: Bench, portal: str, *drives: str, alone: AloneSpec = AloneSpec(), **machine: Any) -> Instance:
    """What `up` does with these options until ssh."""
    asked = PortalSpec(portal, MachineSpec(**machine), drives=tuple(map(DriveSpec, drives)), alone=alone)
    bench.story.lines.clear()
    spec = recall(bench.aws, asked, bench.story)
    up_on, _ = find_or_launch(bench.aws, spec, bench.story, FileAgent(bench))
    remember(bench.aws, up_on, spec, bench.story)
    return up_on


def told(bench: Bench) -> list[str]:
    """What was said of the last time."""
    return [line for line in bench.story.lines if "as last time" in line or "left out" in line]


def last(bench: Bench, portal: str) -> LastTime:
    """What the tags tell."""
    found = find_last_time(bench.aws, portal, bench.story.warn)
    assert found
    return found


def cut_power(bench: Bench, machine: Instance) -> None:
    """The machine is gone without a word, its volumes stay."""
    compute.terminate_instance(bench.aws, machine.id)


def test_after_a_down_everything_is_as_last_time(bench: Bench, drive: str) -> None:
    """Both drives in their order, and the GPU: said in one line, and told by each drive's newest copy."""
    data = f"{drive}-data"
    up(bench, drive, drive, data, gpu=True, alone=AloneSpec(idle_minutes=30.0))
    assert told(bench) == []
    bench.down(drive)
    for name in (drive, data):
        [final] = storage.list_snapshots(bench.aws, tags.tag_filter(name=name))
        assert from_tags(final.tags, drive) == last(bench, drive)
    [row] = list_portal(bench.aws, drive, bench.story.warn)
    assert (row.state, row.last_time) == ("down", last(bench, drive))

    again = up(bench, drive)
    assert tags.drive_names(again.tags) == (drive, data)
    assert again.type.startswith("g")
    assert told(bench) == [f"as last time: --drive {drive} --drive {data} --gpu --idle-minutes 30"]
    bench.down(drive)


def test_after_a_power_cut_everything_is_as_last_time(bench: Bench, drive: str) -> None:
    """The volumes tell it, in the same zone and once they are saved; without the lock, too."""
    data = f"{drive}-data"
    cut_power(bench, up(bench, drive, drive, data, gpu=False))
    again = up(bench, drive)
    assert tags.drive_names(again.tags) == (drive, data)
    cut_power(bench, again)
    bench.down(drive)
    assert tags.drive_names(up(bench, drive).tags) == (drive, data)
    bench.down(drive)


def test_a_portal_without_a_drive_of_its_name_is_found(bench: Bench, drive: str) -> None:
    """Its drives tell of it, whatever they are called."""
    up(bench, drive, f"{drive}-a", f"{drive}-b")
    bench.down(drive)
    assert tags.drive_names(up(bench, drive).tags) == (f"{drive}-a", f"{drive}-b")
    bench.down(drive)


def test_options_win_and_are_remembered_from_then_on(bench: Bench, drive: str) -> None:
    """Each on its own; what they do not say stays."""
    up(bench, drive, drive, f"{drive}-data", gpu=True, alone=AloneSpec(idle_minutes=30.0))
    bench.down(drive)
    assert up(bench, drive, gpu=False).type.startswith("t")
    assert told(bench)[0].endswith("; what the command line says wins")
    bench.down(drive)
    assert (last(bench, drive).gpu, last(bench, drive).idle_minutes) == (False, 30.0)
    up(bench, drive, drive)
    bench.down(drive)
    assert last(bench, drive).drives == (drive,)
    assert tags.drive_names(up(bench, drive).tags) == (drive,)
    bench.down(drive)


def test_settings_of_a_machine_that_is_up_are_remembered(bench: Bench, drive: str) -> None:
    """On the machine and each of its volumes; a plain `up` writes nothing, and asks no more of a machine that is up."""
    machine = up(bench, drive, drive, f"{drive}-data", gpu=True)
    up(bench, drive, alone=AloneSpec(idle_minutes=5.0))
    assert last(bench, drive).idle_minutes == 5.0
    volumes = [v for v in storage.list_volumes(bench.aws, []) if v.id in machine.disks.values() and tags.NAME in v.tags]
    assert [from_tags(v.tags, drive) for v in volumes] == [last(bench, drive)] * 2
    before = last(bench, drive)
    up(bench, drive)
    assert last(bench, drive) == before
    set_tags(bench.aws, machine.id, to_tags(LastTime(drive, bench.aws.now(), before.drives, gpu=False)))
    assert up(bench, drive).id == machine.id
    with pytest.raises(Refused, match="it has a GPU"):
        up(bench, drive, gpu=False)
    bench.down(drive)


def test_a_machine_that_is_of_no_use_is_followed_by_one_like_it(bench: Bench, drive: str) -> None:
    """Its volume was taken off: `up` ends it, and the next has its GPU and drives."""
    machine = up(bench, drive, gpu=True)
    bench.aws.ec2.detach_volume(VolumeId=machine.disks["/dev/sdf"])
    again = up(bench, drive)
    assert again.id != machine.id
    assert again.type.startswith("g")
    bench.down(drive)


def test_a_drive_that_two_portals_use_by_turns(bench: Bench, drive: str) -> None:
    """Each portal is as it was itself, also when the drive's newest copy is the other one's."""
    shared, one, two = f"{drive}-shared", f"{drive}-one", f"{drive}-two"
    up(bench, one, shared, f"{one}-own", gpu=True)
    bench.down(one)
    up(bench, two, shared, gpu=False)
    with pytest.raises(DriveInUse, match=two):
        up(bench, one)
    bench.down(two)
    assert tags.drive_names(up(bench, one).tags) == (shared, f"{one}-own")
    bench.down(one)
    again = up(bench, two)
    assert (tags.drive_names(again.tags), again.type[0]) == ((shared,), "t")
    bench.down(two)


def test_a_restored_copy_does_not_turn_the_portal_back(bench: Bench, drive: str) -> None:
    """It is data of before: the portal is as it was at its last `up`."""
    up(bench, drive, gpu=True)
    bench.down(drive)
    [first] = storage.list_snapshots(bench.aws, tags.tag_filter(name=drive))
    up(bench, drive, drive, f"{drive}-data", gpu=False)
    bench.down(drive)
    restore(bench.aws, drive, first.id, Console())
    again = up(bench, drive)
    assert (tags.drive_names(again.tags), again.type[0]) == ((drive, f"{drive}-data"), "t")
    bench.down(drive)


def test_missing_and_senseless_tags_are_passed_over(bench: Bench, drive: str) -> None:
    """What another copy tells counts; then nothing does, and the portal is as if it were new. No warning of what is
    only missing.
    """
    up(bench, drive, gpu=True)
    bench.down(drive)
    up(bench, drive)
    bench.down(drive)
    older, newest = sorted(
        storage.list_snapshots(bench.aws, tags.tag_filter(name=drive)), key=lambda s: s.tags[tags.GENERATION]
    )
    delete_tag(bench.aws, newest.id, tags.REMEMBERED)
    assert last(bench, drive).gpu is True
    later = to_tags(LastTime(drive, bench.aws.now() + timedelta(days=1), (drive,), gpu=False))
    wrong = {tags.REMEMBERED: f'{{"portal":"{drive}","at":"soon"}}'}
    foreign = to_tags(LastTime(drive, bench.aws.now(), ("elsewhere",), gpu=False))
    for words in (later, wrong, foreign):
        set_tags(bench.aws, newest.id, words)
        bench.story.lines.clear()
        assert last(bench, drive).gpu is True
        assert [newest.id in line for line in told(bench)] == [True]
    delete_tag(bench.aws, older.id, tags.REMEMBERED)
    assert up(bench, drive).type.startswith("t")
    bench.down(drive)


def test_a_volume_that_lost_its_tags_is_saved_with_those_of_its_machine(bench: Bench, drive: str) -> None:
    """By hand, while the machine runs."""
    machine = up(bench, drive, drive, f"{drive}-data")
    volume = machine.disks["/dev/sdf"]
    [there] = storage.list_volumes(bench.aws, [{"Name": "volume-id", "Values": [volume]}])
    for key in there.tags:
        delete_tag(bench.aws, volume, key)
    final = bench.down(drive).newest_snapshot()
    assert final
    assert from_tags(final.tags, drive) == last(bench, drive)


def test_what_a_watch_brings_up_is_not_what_a_person_asked_for(bench: Bench, drive: str) -> None:
    """Its next machines are of its own choice, and carry on what is remembered; without that, they carry nothing."""
    up(bench, drive, gpu=True)
    bench.down(drive)
    before = last(bench, drive)
    wanted = carry_on(bench.aws, PortalSpec(drive, MachineSpec(gpu=False)), bench.story)
    machine, _ = find_or_launch(bench.aws, wanted, bench.story, FileAgent(bench))
    remember(bench.aws, machine, wanted, bench.story)
    assert machine.type.startswith("t")
    assert from_tags(machine.tags, drive) == before
    bench.down(drive)
    assert last(bench, drive) == before
    assert carry_on(bench.aws, PortalSpec(f"{drive}-new"), bench.story).remembered == {}
