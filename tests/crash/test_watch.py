"""`watch` against the sandbox's API: it brings a portal back after each interruption, and its limits end in a save."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.crash.conftest import Bench, FileAgent
from tests.crash.watches import SECONDS, ended, live, next_machine, take, wait_for, watch
from xportal.aws import compute, tags
from xportal.aws.tagging import set_tags
from xportal.drive.observe import observe
from xportal.errors import PortalNotUp, Refused
from xportal.portal.up import find_or_launch
from xportal.spec import MachineSpec, PortalSpec
from xportal.watch.meter import Meter
from xportal.watch.step import Limits


def test_five_interruptions_in_a_row(bench: Bench, drive: str, pool: ThreadPoolExecutor) -> None:
    """Each time a machine comes back with all records, twice after a want of capacity; the budget ends it, saved."""
    bench.up(drive, size_gib=1)
    bench.down(drive)  # a machine that somebody ended, and that AWS still tells of
    before = bench.up(drive)
    watching = pool.submit(watch(bench, drive, Limits(dollars=1.0)).run)
    wait_for(bench, watching, lambda: live(bench, drive))
    for number in range(5):
        bench.write(before, f"record {number}")
        if number in (1, 3):
            bench.cloud.add_fault("capacity")
        take(bench, before)
        if number in (1, 3):
            wait_for(bench, watching, lambda: any("no capacity" in line for line in bench.story.lines))
            bench.story.lines.clear()
            bench.cloud.clear_faults()
        before = next_machine(bench, drive, watching, before)
        assert bench.read(before) == [f"record {n}" for n in range(number + 1)]
    spent = Meter(0.999, 9.0, bench.aws.now() - timedelta(hours=1))  # an hour passes
    set_tags(bench.aws, before.id, {tags.METER: str(spent)})
    report = watching.result(SECONDS)
    assert report.why == "the budget of $1 is spent"
    assert (report.interruptions, round(report.hours)) == (5, 10)
    left = observe(bench.aws, drive)
    assert (left.volumes, left.lock, left.live_machine()) == ((), None, None)
    assert bench.read(bench.up(drive)) == [f"record {n}" for n in range(5)]
    bench.down(drive)


def test_down_is_no_interruption(bench: Bench, drive: str, pool: ThreadPoolExecutor) -> None:
    """Whoever ends the portal ends the watch."""
    bench.up(drive, size_gib=1)
    watching = pool.submit(watch(bench, drive).run)
    wait_for(bench, watching, lambda: live(bench, drive))
    bench.down(drive)
    report = watching.result(SECONDS)
    assert report.why.startswith("somebody ended")
    assert report.saved is None
    assert observe(bench.aws, drive).live_machine() is None


def test_idle_machine(bench: Bench, drive: str, pool: ThreadPoolExecutor) -> None:
    """A machine that shuts itself down stays down: the watch waits for its snapshot and deletes the volume."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "record")
    watching = pool.submit(watch(bench, drive).run)
    wait_for(bench, watching, lambda: live(bench, drive))
    bench.hardware.power_off(machine.id)
    report = watching.result(SECONDS)
    assert report.why == f"{machine.id} has shut itself down, as when it is idle"
    assert report.saved
    left = observe(bench.aws, drive)
    assert (left.volumes, left.lock, left.live_machine()) == ((), None, None)
    assert bench.read(bench.up(drive)) == ["record"]
    bench.down(drive)


def test_down_after_an_interruption(bench: Bench, drive: str) -> None:
    """A portal that was brought down after AWS had taken its machine stays down: another watch does not raise it."""
    machine = bench.up(drive, size_gib=1)
    take(bench, machine)
    bench.down(drive)
    assert ended(watch(bench, drive)).why.startswith("somebody ended")


def test_watch_that_begins_after_the_interruption(bench: Bench, drive: str, pool: ThreadPoolExecutor) -> None:
    """Nothing on the computer is needed: a watch that was not there finds out, and counts on from the machine's tag."""
    machine = bench.up(drive, size_gib=1)
    set_tags(bench.aws, machine.id, {tags.METER: str(Meter(0.5, 7.0, bench.aws.now()))})
    take(bench, machine)
    watching = pool.submit(watch(bench, drive, Limits(hours=7.5)).run)
    again = next_machine(bench, drive, watching, machine)
    assert [round(float(word)) for word in again.tags[tags.METER].split()[1:2]] == [7]
    set_tags(bench.aws, again.id, {tags.METER: str(Meter(0.5, 7.6, bench.aws.now()))})
    assert watching.result(SECONDS).why == "7.5 hours are over"


def test_price_above_the_limit(bench: Bench, drive: str) -> None:
    """When the running machine's offer costs more than --max-price, the portal is saved and ended."""
    bench.up(drive, size_gib=1)
    report = ended(watch(bench, drive, machine=MachineSpec(gpu=False, max_price=0.000001)))
    assert "costs $" in report.why
    assert report.saved
    assert observe(bench.aws, drive).volumes == ()


def test_like_the_last(bench: Bench, drive: str, pool: ThreadPoolExecutor) -> None:
    """Who asks for no machine gets one like that which was taken, drives included."""
    wanted = PortalSpec(drive, MachineSpec(gpu=True), 1)
    before, _ = find_or_launch(bench.aws, wanted, bench.story, FileAgent(bench))
    bench.cloud.add_fault("capacity", zone=before.zone)
    watching = pool.submit(watch(bench, drive, machine=MachineSpec()).run)
    wait_for(bench, watching, lambda: live(bench, drive))
    take(bench, before)
    now = next_machine(bench, drive, watching, before)
    bench.cloud.clear_faults()
    assert (now.type[0], now.zone != before.zone) == ("g", True)
    bench.down(drive)
    watching.result(SECONDS)


def test_nothing_to_watch(bench: Bench, drive: str) -> None:
    """A portal that is not up is not brought up."""
    with pytest.raises(PortalNotUp):
        ended(watch(bench, drive))
    assert observe(bench.aws, drive).machines == {}


def test_budget_of_a_machine_without_a_price(bench: Bench, drive: str) -> None:
    """An on-demand machine's price is not known: --budget is refused, not ignored."""
    bench.up(drive, size_gib=1)
    [machine] = compute.list_instances(bench.aws, tags.drive_filter(drive))
    set_tags(bench.aws, machine.id, {tags.PRICE: ""})
    with pytest.raises(Refused, match="price"):
        ended(watch(bench, drive, Limits(dollars=1.0)))
    bench.down(drive)
