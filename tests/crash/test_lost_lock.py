"""Who launches may lose the lock meanwhile: nothing that another took over is discarded, and nothing else stays."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import Lab
from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.aws.lag import wait_for_lists
from xportal.aws.records import NO_CAPACITY, Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive import launched, locks
from xportal.drive.model import LockState, lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveInUse, MachineGone
from xportal.machine import launch
from xportal.portal.up import launch as launching

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own, with a record on it."""
    return f"lost{next(_numbers)}"


def save_first(lab: Lab, drive: str) -> None:
    """A drive with data, at rest."""
    lab.write(lab.up(drive, size_gib=1), "old")
    lab.down(drive)


def lose_lock(lab: Lab, drive: str) -> None:
    """Somebody deletes the lock by hand, or breaks it for it is old."""
    lock = keys.find_key_pair(lab.aws, lock_name(drive))
    assert lock
    keys.delete_key_pair(lab.aws, lock.id)


def asleep_before_its_look(monkeypatch: pytest.MonkeyPatch, meanwhile: Any) -> None:
    """The next `up` sleeps when its machine runs, before it looks at its lock again."""
    check = launching._check_lock
    slept: list[Instance] = []

    def late(aws: Aws, ours: Any, machine: Instance, give_back: Any) -> None:
        if not slept:
            slept.append(machine)
            meanwhile(machine)
        check(aws, ours, machine, give_back)

    monkeypatch.setattr(launching, "_check_lock", late)


def test_machine_that_another_up_took_over(
    lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever launched it sleeps meanwhile, and finds the lock gone: the machine and hours of work stay."""
    save_first(lab, drive)

    def meanwhile(machine: Instance) -> None:
        lose_lock(lab, drive)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
        again = lab.up(drive)
        assert again.id == machine.id
        lab.write(again, "hours of work")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    asleep_before_its_look(monkeypatch, meanwhile)
    with pytest.raises(DriveInUse, match="another up uses"):
        lab.up(drive)
    assert lab.read(lab.up(drive)) == ["old", "hours of work"]
    lab.down(drive)


def test_machine_that_nobody_took_over(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and its copy deleted, without a word of it in the drive's history."""
    save_first(lab, drive)
    before = observe(lab.aws, drive)
    asleep_before_its_look(monkeypatch, lambda _: lose_lock(lab, drive))
    with pytest.raises(DriveInUse, match="was ended again"):
        lab.up(drive)
    after = observe(lab.aws, drive)
    assert (after.snapshots, after.volumes, after.live_machine()) == (before.snapshots, (), None)


def test_taking_over_what_is_being_discarded(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark came first: whoever takes it over sees that, and does not work on what is about to go."""
    save_first(lab, drive)
    taken: list[type[Exception]] = []

    def take_over(aws: Aws, machine: Instance) -> None:
        try:
            launched.confirm(aws, machine, {drive: 2})
        except MachineGone as error:
            taken.append(type(error))

    def meanwhile(machine: Instance) -> None:
        def wait(aws: Aws) -> None:
            wait_for_lists(aws)
            take_over(lab.aws, machine)

        lose_lock(lab, drive)
        monkeypatch.setattr(launched, "wait_for_lists", wait)

    asleep_before_its_look(monkeypatch, meanwhile)
    with pytest.raises(DriveInUse):
        lab.up(drive)
    assert taken == [MachineGone]
    monkeypatch.setattr(launched, "wait_for_lists", wait_for_lists)
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["old"]
    lab.down(drive)


def test_launch_that_ended_for_want_of_capacity_is_not_over(
    lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS granted a machine and ended it: its holder tries the next offer, and nobody breaks its lock meanwhile."""
    save_first(lab, drive)
    wait = launch._wait_running
    states: list[LockState] = []

    def ended(aws: Aws, instance: Instance, beat: Any) -> Instance:
        if states:
            return wait(aws, instance, beat)
        compute.terminate_instance(aws, instance.id)
        launched._wait_until_terminated(aws, instance, beat)
        gone = compute.find_instance(aws, instance.id)
        assert gone
        seen = observe(aws, drive)
        machines = {**seen.machines, gone.id: replace(gone, state_reason=NO_CAPACITY)}
        states.append(replace(seen, machines=machines).lock_state(None))
        return replace(gone, state_reason=NO_CAPACITY)

    monkeypatch.setattr(launch, "_wait_running", ended)
    again = lab.up(drive)
    assert states == [LockState.STARTING]
    assert lab.read(again) == ["old"]
    assert [v.id for v in storage.list_volumes(lab.aws, tags.tag_filter(drive=drive))] == [again.disks[DEVICE]]
    lab.down(drive)


def test_a_launch_over_many_offers_beats(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each offer may take minutes: the lock's heartbeat goes on, or others would take the holder for dead."""
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.0)
    told: list[str] = []
    beats: list[int] = []  # so many were told before each launch
    run = compute.run_instance

    def counted(aws: Aws, resource: str, its_tags: dict[str, str]) -> None:
        told.append(its_tags[tags.HEARTBEAT])
        set_tags(aws, resource, its_tags)

    def refused(aws: Aws, request: Any) -> Instance:
        lock = observe(aws, drive).lock
        assert lock
        assert lock.tags[tags.HEARTBEAT] == told[-1]
        beats.append(len(told))
        if len(beats) < 3:
            raise AwsError("none", code="InsufficientInstanceCapacity", operation="RunInstances")
        return run(aws, request)

    monkeypatch.setattr(locks, "set_tags", counted)
    monkeypatch.setattr(compute, "run_instance", refused)
    lab.up(drive, size_gib=1)
    assert beats == sorted(set(beats))
    lab.down(drive)
