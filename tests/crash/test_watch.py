"""`watch` against the sandbox's API: it brings a portal back after each interruption, and its limits end in a save."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.crash.conftest import FileAgent, Lab
from tests.crash.watches import SECONDS, ended, live, next_machine, take, wait_for, watch
from xportal.aws import compute, tags
from xportal.aws.tagging import set_tags
from xportal.drive.observe import observe
from xportal.errors import PortalNotUp, Refused
from xportal.portal.up import find_or_launch
from xportal.spec import MachineSpec, PortalSpec
from xportal.watch.meter import Meter
from xportal.watch.step import Limits


def test_five_interruptions_in_a_row(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Each time a machine comes back with all records, twice after a want of capacity; the budget ends it, saved."""
    lab.up(drive, size_gib=1)
    lab.down(drive)  # a machine that somebody ended, and that AWS still tells of
    before = lab.up(drive)
    watching = pool.submit(watch(lab, drive, Limits(dollars=1.0)).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    for number in range(5):
        lab.write(before, f"record {number}")
        if number in (1, 3):
            lab.cloud.add_fault("capacity")
        take(lab, before)
        if number in (1, 3):
            wait_for(lab, watching, lambda: any("no capacity" in line for line in lab.story.lines))
            lab.story.lines.clear()
            lab.cloud.clear_faults()
        before = next_machine(lab, drive, watching, before)
        assert lab.read(before) == [f"record {n}" for n in range(number + 1)]
    spent = Meter(0.999, 9.0, lab.aws.now() - timedelta(hours=1))  # an hour passes
    set_tags(lab.aws, before.id, {tags.METER: str(spent)})
    report = watching.result(SECONDS)
    assert report.why == "the budget of $1 is spent"
    assert (report.interruptions, round(report.hours)) == (5, 10)
    left = observe(lab.aws, drive)
    assert (left.volumes, left.lock, left.live_machine()) == ((), None, None)
    assert lab.read(lab.up(drive)) == [f"record {n}" for n in range(5)]
    lab.down(drive)


def test_down_is_no_interruption(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Whoever ends the portal ends the watch."""
    lab.up(drive, size_gib=1)
    watching = pool.submit(watch(lab, drive).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    lab.down(drive)
    report = watching.result(SECONDS)
    assert report.why.startswith("somebody ended")
    assert report.saved is None
    assert observe(lab.aws, drive).live_machine() is None


def test_idle_machine(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """A machine that shuts itself down stays down: the watch waits for its snapshot and deletes the volume."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "record")
    watching = pool.submit(watch(lab, drive).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    lab.hardware.power_off(machine.id)
    report = watching.result(SECONDS)
    assert report.why == f"{machine.id} has shut itself down, as when it is idle"
    assert report.saved
    left = observe(lab.aws, drive)
    assert (left.volumes, left.lock, left.live_machine()) == ((), None, None)
    assert lab.read(lab.up(drive)) == ["record"]
    lab.down(drive)


def test_down_after_an_interruption(lab: Lab, drive: str) -> None:
    """A portal that was brought down after AWS had taken its machine stays down: another watch does not raise it."""
    machine = lab.up(drive, size_gib=1)
    take(lab, machine)
    lab.down(drive)
    assert ended(watch(lab, drive)).why.startswith("somebody ended")


def test_watch_that_begins_after_the_interruption(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Nothing on the computer is needed: a watch that was not there finds out, and counts on from the machine's tag."""
    machine = lab.up(drive, size_gib=1)
    set_tags(lab.aws, machine.id, {tags.METER: str(Meter(0.5, 7.0, lab.aws.now()))})
    take(lab, machine)
    watching = pool.submit(watch(lab, drive, Limits(hours=7.5)).run)
    again = next_machine(lab, drive, watching, machine)
    assert [round(float(word)) for word in again.tags[tags.METER].split()[1:2]] == [7]
    set_tags(lab.aws, again.id, {tags.METER: str(Meter(0.5, 7.6, lab.aws.now()))})
    assert watching.result(SECONDS).why == "7.5 hours are over"


def test_price_above_the_limit(lab: Lab, drive: str) -> None:
    """When the running machine's offer costs more than --max-price, the portal is saved and ended."""
    lab.up(drive, size_gib=1)
    report = ended(watch(lab, drive, Limits(price=0.000001)))
    assert "costs $" in report.why
    assert report.saved
    assert observe(lab.aws, drive).volumes == ()


def test_like_the_last(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Who asks for no machine gets one like that which was taken, drives included."""
    wanted = PortalSpec(drive, MachineSpec(gpu=True), 1)
    before, _ = find_or_launch(lab.aws, wanted, lab.story, FileAgent(lab))
    lab.cloud.add_fault("capacity", zone=before.zone)
    watching = pool.submit(watch(lab, drive, machine=MachineSpec()).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    take(lab, before)
    now = next_machine(lab, drive, watching, before)
    lab.cloud.clear_faults()
    assert (now.type[0], now.zone != before.zone) == ("g", True)
    lab.down(drive)
    watching.result(SECONDS)


def test_nothing_to_watch(lab: Lab, drive: str) -> None:
    """A portal that is not up is not brought up."""
    with pytest.raises(PortalNotUp):
        ended(watch(lab, drive))
    assert observe(lab.aws, drive).machines == {}


def test_budget_of_a_machine_without_a_price(lab: Lab, drive: str) -> None:
    """An on-demand machine's price is not known: --budget is refused, not ignored."""
    lab.up(drive, size_gib=1)
    [machine] = compute.list_instances(lab.aws, tags.drive_filter(drive))
    set_tags(lab.aws, machine.id, {tags.PRICE: ""})
    with pytest.raises(Refused, match="price"):
        ended(watch(lab, drive, Limits(dollars=1.0)))
    lab.down(drive)
