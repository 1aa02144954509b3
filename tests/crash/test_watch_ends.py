"""`watch` and who ended a machine: its own `down` is finished, an `up` is no person, and a person's word counts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.crash.conftest import FileAgent, Lab, LabAws
from tests.crash.meanwhile import before_call, launched
from tests.crash.watches import SECONDS, ended, live, next_machine, take, watch
from xportal.aws import compute, keys, tags
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance, Volume
from xportal.aws.tagging import set_tags
from xportal.drive import plan as p
from xportal.drive.model import lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveInUse, GoingDown, NoCapacity
from xportal.portal.down import down
from xportal.watch.step import Limits

SPENT = Limits(hours=1e-9)


class BreaksOff:
    """Has DeleteVolume raise the first times."""

    def __init__(self, error: BaseException, times: int) -> None:
        self._error = error
        self.left = times

    def __call__(self, _: object) -> None:
        self.left -= 1
        raise self._error


class InterruptedAgent(FileAgent):
    """Somebody types Ctrl-C as the machine saves."""

    def save(self, machine: Instance, volume: Volume) -> None:
        """Ctrl-C."""
        raise KeyboardInterrupt


def comes_back(lab: Lab, drive: str, pool: ThreadPoolExecutor, before: Instance) -> None:
    """A watch brings the portal up again, and ends with it."""
    watching = pool.submit(watch(lab, drive).run)
    next_machine(lab, drive, watching, before)
    lab.down(drive)
    watching.result(SECONDS)


def test_the_down_of_a_limit_is_finished(lab: Lab, drive: str) -> None:
    """AWS refuses in the middle of it: the watch tries again, and tells the limit, not that somebody ended it."""
    lab.up(drive, size_gib=1)
    error = AwsError("AWS refused DeleteVolume", code="UnauthorizedOperation", operation="DeleteVolume")
    refusing = BreaksOff(error, 2)
    with before_call(lab.aws, "DeleteVolume", refusing, times=2):
        report = ended(watch(lab, drive, SPENT))
    assert report.why == "1e-09 hours are over"
    assert report.saved
    assert (refusing.left, observe(lab.aws, drive).volumes) == (0, ())


def test_another_watch_finishes_it(lab: Lab, drive: str) -> None:
    """The watch is killed in the middle of its `down`: the next one does the rest, whatever its own limits."""
    lab.up(drive, size_gib=1)
    with before_call(lab.aws, "DeleteVolume", BreaksOff(KeyboardInterrupt(), 1)), pytest.raises(KeyboardInterrupt):
        ended(watch(lab, drive, SPENT))
    assert observe(lab.aws, drive).volumes
    assert ended(watch(lab, drive)).why == "1e-09 hours are over"
    assert observe(lab.aws, drive).volumes == ()


def test_another_watch_finishes_it_without_a_price(lab: Lab, drive: str) -> None:
    """Nor does a price that is not known keep it from that."""
    machine = lab.up(drive, size_gib=1)
    set_tags(lab.aws, machine.id, {tags.PRICE: "", tags.ENDING: "its price is not known"})
    assert ended(watch(lab, drive, Limits(dollars=1))).why == "its price is not known"
    assert observe(lab.aws, drive).volumes == ()


def test_a_machine_that_up_ended(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """`up` ends a machine whose final save has begun, and finds no other: the watch goes on."""
    machine = lab.up(drive, size_gib=1)
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    lab.cloud.add_fault("capacity")
    with pytest.raises(NoCapacity):
        lab.up(drive)
    lab.cloud.clear_faults()
    assert compute.find_instance(lab.aws, machine.id).state == "terminated"  # type: ignore[union-attr]
    comes_back(lab, drive, pool, machine)


def test_a_launch_that_lost_its_lock(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """`up` ends the machine that it has just launched: the watch goes on."""
    take(lab, lab.up(drive, size_gib=1))

    def lose(_: Instance) -> None:
        lock = keys.find_key_pair(lab.aws, lock_name(drive))
        assert lock
        keys.delete_key_pair(lab.aws, lock.id)

    with launched(lab.aws, drive, lose), pytest.raises(DriveInUse):
        lab.up(drive)
    [newest, _] = sorted(compute.list_instances(lab.aws, tags.drive_filter(drive)), key=lambda m: m.launched)[::-1]
    assert newest.state == "terminated"
    comes_back(lab, drive, pool, newest)


def has_a_down_at_call(lab: Lab, drive: str, pool: ThreadPoolExecutor, nth: int) -> bool:
    """Before the nth call of a watch that comes back somebody types `down`, who is refused or has the last word.
    Whether there were so many calls.
    """
    take(lab, lab.up(drive, size_gib=1))
    calls, refused = 0, False

    def type_down(_: object) -> bool:
        nonlocal calls, refused
        calls += threading.current_thread() is not threading.main_thread()  # that one only looks
        if calls < nth:
            return False
        try:
            lab.down(drive)
        except DriveInUse:
            refused = True
        return True

    watching = watch(lab, drive)
    with before_call(lab.aws, "*", type_down):
        running = pool.submit(watching.run)
        deadline = time.monotonic() + SECONDS
        while not (running.done() or live(lab, drive)):
            assert time.monotonic() < deadline, lab.story.lines[-20:]
            time.sleep(0.1)
        came_back = not running.done()
        assert came_back == (refused or calls < nth), f"before call {nth}"
        lab.down(drive)
        assert running.result(SECONDS).why.startswith("somebody ended")
    assert observe(lab.aws, drive).live_machine() is None
    return calls >= nth


@pytest.mark.parametrize(
    ("first", "step"), [(10, 20), *(pytest.param(n, 20, marks=pytest.mark.all) for n in range(1, 21) if n != 10)]
)
def test_down_while_it_comes_back(lab: Lab, drive: str, pool: ThreadPoolExecutor, first: int, step: int) -> None:
    """A `down` beside any call of it."""
    nth = first
    while has_a_down_at_call(lab, f"{drive}-{nth}", pool, nth):
        nth += step
    assert nth > 2 * step


def test_down_while_an_up_is_at_work(lab: Lab, drive: str) -> None:
    """It has the last word. A `down` that came before the `up`, whose mark AWS shows late, has not."""
    lab.write(lab.up(drive, size_gib=1), "record")
    before = lab.down(drive).newest()
    assert before

    def mark_late(_: object) -> None:
        set_tags(lab.aws, before.id, {tags.ENDED: (lab.aws.now() - timedelta(seconds=5)).isoformat()})

    with before_call(lab.aws, "ImportKeyPair", mark_late):
        machine = lab.up(drive)
    assert lab.read(machine) == ["record"]
    lab.down(drive)

    def type_down(_: object) -> None:
        assert isinstance(lab.aws, LabAws)
        lab.aws.passed += timedelta(seconds=5)
        lab.down(drive)

    with before_call(lab.aws, "ImportKeyPair", type_down), pytest.raises(GoingDown, match="meanwhile"):
        lab.up(drive)
    assert (observe(lab.aws, drive).live_machine(), observe(lab.aws, drive).lock) == (None, None)


def test_down_without_waiting_after_an_interruption(lab: Lab, drive: str) -> None:
    """Somebody ends a portal that AWS has interrupted, and does not wait until the snapshot is complete."""
    take(lab, lab.up(drive, size_gib=1))
    lab.cloud.add_fault("snapshot-slow", seconds=5, count=1)
    down(lab.aws, drive, lab.story, FileAgent(lab), wait=False)
    assert observe(lab.aws, drive).volumes
    assert ended(watch(lab, drive)).why.startswith("somebody ended")
    lab.cloud.clear_faults()
    lab.down(drive)


def test_down_that_waits_after_an_interruption(lab: Lab, drive: str) -> None:
    """While somebody's `down` still waits for the snapshot, no watch brings the portal up."""
    take(lab, lab.up(drive, size_gib=1))

    def interrupt(_: object) -> bool:
        if not any(tags.ENDED in volume.tags for volume in observe(lab.aws, drive).volumes):
            return False
        raise KeyboardInterrupt

    with before_call(lab.aws, "DescribeVolumes", interrupt), pytest.raises(KeyboardInterrupt):
        lab.down(drive)
    assert ended(watch(lab, drive)).why.startswith("somebody ended")
    lab.down(drive)


def test_a_volume_that_is_used_again(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """After `down --no-wait` an `up` attaches the same volume: an interruption of the new machine is one."""
    take(lab, lab.up(drive, size_gib=1))
    lab.cloud.add_fault("snapshot-slow", seconds=5, count=1)
    down(lab.aws, drive, lab.story, FileAgent(lab), wait=False)
    lab.cloud.clear_faults()
    machine = lab.up(drive)
    take(lab, machine)
    comes_back(lab, drive, pool, machine)


def test_up_takes_a_down_back_that_broke_off(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """Before it saved anything: the machine is used further, and its interruption is one."""
    machine = lab.up(drive, size_gib=1)
    with pytest.raises(KeyboardInterrupt):
        down(lab.aws, drive, lab.story, InterruptedAgent(lab))
    assert lab.up(drive).id == machine.id
    take(lab, machine)
    comes_back(lab, drive, pool, machine)
