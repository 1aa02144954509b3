"""What a watch counts: hours and dollars of all machines, from launch to end, whoever watched meanwhile."""

from __future__ import annotations

import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.crash.conftest import FileAgent, Lab
from tests.crash.watches import SECONDS, ended, live, next_machine, take, wait_for, watch
from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance
from xportal.aws.tagging import set_tags
from xportal.drive.made import Description
from xportal.drive.model import lock_name
from xportal.errors import UsageError
from xportal.portal.endings import Ends
from xportal.portal.up import find_or_launch
from xportal.spec import MachineSpec, PortalSpec, UnattendedSpec
from xportal.watch.meter import Meter, read_meter
from xportal.watch.step import Limits
from xportal.watch.watch import Pace, Watch


def saves_by_itself(lab: Lab, drive: str, machine: Instance, save: str) -> None:
    """The machine takes its final snapshot."""
    told = {tags.NAME: drive, tags.OURS: "1", tags.DRIVE: drive, tags.GENERATION: "1"}
    told |= {tags.KIND: tags.FINAL, tags.SAVE: save, tags.LAUNCH: machine.tags[tags.LAUNCH]}
    description = str(Description({drive: 1}, tags.FINAL))
    storage.create_snapshot(lab.aws, machine.disks[DEVICE], description=description, tags=told)


def has_cost(lab: Lab, machine: Instance, hours: float, since_hours: float = 0.0) -> None:
    """What the machine carries: hours before, at a tenth of a dollar each, and since when it counts."""
    since = lab.aws.now() - timedelta(hours=since_hours)
    set_tags(lab.aws, machine.id, {tags.METER: str(Meter(hours / 10, hours, since))})


def test_a_machine_carries_what_it_has_cost(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """While it lives its meter is written again, so that its end is known to minutes."""
    has_cost(lab, lab.up(drive, size_gib=1), 7, since_hours=1)
    watching = pool.submit(watch(lab, drive).run)
    wait_for(lab, watching, lambda: (now := live(lab, drive)) and "8.0" in now.tags[tags.METER])
    lab.down(drive)
    watching.result(SECONDS)


def test_time_after_the_end_costs_nothing(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """A watch that begins hours after an interruption counts the machine until it was last known to live."""
    machine = lab.up(drive, size_gib=1)
    has_cost(lab, machine, 7, since_hours=3)
    take(lab, machine)
    watching = pool.submit(watch(lab, drive, Limits(hours=8)).run)
    next_machine(lab, drive, watching, machine)
    lab.down(drive)
    assert round(watching.result(SECONDS).hours) == 7


def test_its_last_snapshot_tells_its_end(lab: Lab, drive: str) -> None:
    """A machine that ran on while the watching computer slept, and that AWS then took."""
    machine = lab.up(drive, size_gib=1)
    has_cost(lab, machine, 7, since_hours=3)
    saves_by_itself(lab, drive, machine, "notice-1")
    take(lab, machine)
    report = ended(watch(lab, drive, Limits(hours=9)))
    assert (report.why, round(report.hours)) == ("9 hours are over", 10)


def test_a_machine_that_no_watch_has_seen(lab: Lab, drive: str) -> None:
    """The watch was killed right after its `up`: the next one counts on, from the machine's launch."""
    machine = lab.up(drive, size_gib=1)
    has_cost(lab, machine, 7)
    take(lab, machine)
    machine = lab.up(drive)
    time.sleep(2)
    report = ended(watch(lab, drive, Limits(hours=7)))
    assert report.why == "7 hours are over"
    assert report.hours >= 7 + 2 / 3600
    assert report.dollars >= 0.7


def test_a_new_watch_begins_at_nothing(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """What somebody has ended is over: the machines before that do not count."""
    has_cost(lab, lab.up(drive, size_gib=1), 7)
    lab.down(drive)
    lab.up(drive)
    watching = pool.submit(watch(lab, drive, Limits(hours=6)).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    lab.down(drive)
    assert watching.result(SECONDS).hours < 1


def test_a_new_machine_counts_from_its_launch(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Hours and dollars of the one before, and the seconds until its `up` was done."""
    before = lab.up(drive, size_gib=1)
    has_cost(lab, before, 7)

    def slow(spec: PortalSpec, ends: Ends) -> None:
        find_or_launch(lab.aws, spec, lab.story, FileAgent(lab), ends)
        time.sleep(3)

    spec, pace = PortalSpec(drive, MachineSpec(gpu=False)), Pace(5.0, lambda: itertools.repeat(5.0))
    watching = pool.submit(Watch(lab.aws, spec, Limits(), lab.story, FileAgent(lab), slow, pace).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    take(lab, before)
    now = next_machine(lab, drive, watching, before)
    meter = read_meter(now)
    assert meter
    assert meter.dollars >= 0.7
    assert (meter.hours - 7) * 3600 >= 2
    lab.down(drive)
    watching.result(SECONDS)


def test_a_price_that_is_not_known(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Somebody goes on with an on-demand machine: --budget cannot count it, and ends in a save."""
    machine = lab.up(drive, size_gib=1)
    watching = pool.submit(watch(lab, drive, Limits(dollars=1)).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    set_tags(lab.aws, machine.id, {tags.PRICE: ""})
    report = watching.result(SECONDS)
    assert report.why == f"the price of {machine.id}, which --budget would count, is not known"
    assert report.saved


def test_numbers_that_are_none(lab: Lab, drive: str) -> None:
    """What is no number, or without end, is no limit; nor can AWS's full price be counted."""
    for number in (math.nan, math.inf):
        for make in (
            lambda n: Limits(dollars=n),
            lambda n: Limits(hours=n),
            lambda n: PortalSpec(drive, MachineSpec(max_price=n)),
            lambda n: PortalSpec(drive, MachineSpec(min_gpu_memory_gib=n)),
            lambda n: UnattendedSpec(idle_minutes=n),
            lambda n: UnattendedSpec(checkpoint_minutes=n),
        ):
            with pytest.raises(UsageError):
                make(number)
    with pytest.raises(UsageError, match="--on-demand and --budget"):
        watch(lab, drive, Limits(dollars=1), MachineSpec(on_demand=True))


@pytest.mark.parametrize("save", ["idle", "shutdown"])
def test_forgotten_machine_that_ended_itself(lab: Lab, drive: str, save: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer slept until AWS had forgotten the machine: its final snapshot tells that it is to stay down."""
    machine = lab.up(drive, size_gib=1)
    sleeping = watch(lab, drive)
    sleeping.check()
    saves_by_itself(lab, drive, machine, save)
    lab.hardware.power_off(machine.id)
    forget(lab, drive)
    report = ended(sleeping)
    assert report.why == f"{machine.id} has shut itself down, as when it is idle"


def test_forgotten_machine_that_aws_took(
    lab: Lab, drive: str, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save at AWS's notice tells of an interruption."""
    machine = lab.up(drive, size_gib=1)
    sleeping = watch(lab, drive)
    sleeping.check()
    saves_by_itself(lab, drive, machine, "notice-1")
    take(lab, machine)
    forget(lab, drive)
    watching = pool.submit(sleeping.run)
    next_machine(lab, drive, watching, machine)
    lab.down(drive)
    watching.result(SECONDS)


def forget(lab: Lab, drive: str) -> None:
    """An hour passes for AWS's terminated machines, and for the drive's lock."""
    by_drive = tags.drive_filter(drive)
    lock = keys.find_key_pair(lab.aws, lock_name(drive))
    assert lock
    set_tags(lab.aws, lock.id, {tags.HEARTBEAT: (lab.aws.now() - timedelta(hours=1)).isoformat()})
    while any(m.state != "terminated" for m in compute.list_instances(lab.aws, by_drive)):
        time.sleep(0.1)
    settings, usual = lab.cloud.settings, lab.cloud.settings.terminated_seconds
    settings.terminated_seconds = 0.0
    try:
        assert compute.list_instances(lab.aws, by_drive) == []
    finally:
        settings.terminated_seconds = usual


EDITED = {
    "empty": "",
    "naive": "1.0 2.0 2026-01-01T00:00:00",
    "nan": "nan nan {now}",
    "negative dollars": "-1e9 0 {now}",
    "negative hours": "0 -5 {now}",
    "infinite": "inf 0 {now}",
    "huge": "1e999 0 {now}",
    "in the future": "0 0 9999-12-31T00:00:00+00:00",
    "words": "a b c",
    "four": "0 0 {now} 0",
}


@pytest.mark.parametrize("told", EDITED.values(), ids=EDITED.keys())
def test_a_meter_edited_by_hand(lab: Lab, drive: str, pool: ThreadPoolExecutor, told: str) -> None:
    """It is counted anew: the watch goes on, and its limit still ends it with a save."""
    machine = lab.up(drive, size_gib=1)
    set_tags(lab.aws, machine.id, {tags.METER: told.format(now=lab.aws.now().isoformat())})
    watching = pool.submit(watch(lab, drive, Limits(hours=1)).run)
    wait_for(lab, watching, lambda: (now := live(lab, drive)) and (meter := read_meter(now)) and meter.hours < 0.1)
    has_cost(lab, machine, 2)
    report = watching.result(SECONDS)
    assert report.saved
    assert report.hours >= 2
