"""Who launches may lose the lock meanwhile: nothing that another took over is discarded, and nothing else stays."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.crash.conftest import FAST, Lab
from tests.crash.meanwhile import before_call, launched, tags_in
from tests.user import make_session
from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import NO_CAPACITY, Instance
from xportal.aws.session import Aws
from xportal.clock import FastClock
from xportal.drive.launched import confirm
from xportal.drive.model import LockState, lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveInUse, MachineGone
from xportal.sandbox.api.ec2.instances import find_instance

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

    with launched(lab.aws, drive, meanwhile), pytest.raises(DriveInUse, match="another up uses"):
        lab.up(drive)
    assert lab.read(lab.up(drive)) == ["old", "hours of work"]
    lab.down(drive)


def test_machine_that_nobody_took_over(lab: Lab, drive: str) -> None:
    """It is ended, and its copy deleted, without a word of it in the drive's history."""
    save_first(lab, drive)
    before = observe(lab.aws, drive)
    with (
        launched(lab.aws, drive, lambda _: lose_lock(lab, drive)),
        pytest.raises(DriveInUse, match="was ended again"),
    ):
        lab.up(drive)
    after = observe(lab.aws, drive)
    assert (after.snapshots, after.volumes, after.live_machine()) == (before.snapshots, (), None)


def test_taking_over_what_is_being_discarded(lab: Lab, drive: str) -> None:
    """The mark came first: whoever takes it over sees that, and does not work on what is about to go."""
    save_first(lab, drive)
    taken: list[type[Exception]] = []

    def take_over(_: object) -> bool:
        marked = [m for m in compute.list_instances(lab.aws, tags.drive_filter(drive)) if tags.MARKED in m.tags]
        for machine in marked:
            try:
                confirm(lab.aws, machine, {drive: 2})
            except MachineGone as error:
                taken.append(type(error))
        return bool(marked)

    with (
        launched(lab.aws, drive, lambda _: lose_lock(lab, drive)),
        before_call(lab.aws, "DescribeInstances", take_over),  # as the holder looks whether somebody has taken it over
        pytest.raises(DriveInUse),
    ):
        lab.up(drive)
    assert taken == [MachineGone]
    lab.down(drive)
    assert lab.read(lab.up(drive)) == ["old"]
    lab.down(drive)


def test_launch_that_ended_for_want_of_capacity_is_not_over(lab: Lab, drive: str) -> None:
    """AWS granted a machine and ended it: its holder tries the next offer, and nobody breaks its lock meanwhile."""
    save_first(lab, drive)
    states: list[LockState] = []
    launches: list[object] = []

    def end(_: object) -> bool:
        if not launches:
            return False
        while not (found := observe(lab.aws, drive).live_machine()):
            time.sleep(0.05)  # AWS does not show it at once
        refuse(found)
        return True

    def refuse(machine: Instance) -> None:
        compute.terminate_instance(lab.aws, machine.id)
        while (gone := compute.find_instance(lab.aws, machine.id)) is None or gone.state != "terminated":
            time.sleep(0.05)
        backend: Any = ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        record = find_instance(backend, machine.id)
        assert record
        record.become("terminated", (NO_CAPACITY, "no capacity"))
        states.append(observe(lab.aws, drive).lock_state(None))

    with before_call(lab.aws, "RunInstances", launches.append), before_call(lab.aws, "DescribeInstances", end):
        again = lab.up(drive)
    assert states == [LockState.STARTING]
    assert lab.read(again) == ["old"]
    assert [v.id for v in storage.list_volumes(lab.aws, tags.tag_filter(drive=drive))] == [again.disks[DEVICE]]
    lab.down(drive)


class Leaping(FastClock):
    """A clock that leaps ahead when a test says so."""

    ahead = 0.0

    def monotonic(self) -> float:
        """With the leaps."""
        return super().monotonic() + self.ahead


def test_a_launch_over_many_offers_beats(lab: Lab, drive: str) -> None:
    """Each offer may take minutes: the lock's heartbeat goes on, or others would take the holder for dead."""
    clock = Leaping(FAST)
    lab = replace(lab, aws=Aws(make_session(), "us-east-1", clock=clock))
    told: list[str] = []
    beats: list[int] = []  # so many were told before each launch

    def count(params: Mapping[str, Any]) -> None:
        told.extend(value for name, value in tags_in(params).items() if name == tags.HEARTBEAT)

    def wait(_: object) -> None:
        lock = observe(lab.aws, drive).lock
        assert lock
        assert not told or lock.tags[tags.HEARTBEAT] == told[-1]
        beats.append(len(told))
        clock.ahead += 61.0

    lab.cloud.add_fault("capacity", count=2)
    with before_call(lab.aws, "CreateTags", count, times=1000), before_call(lab.aws, "RunInstances", wait, times=1000):
        lab.up(drive, size_gib=1)
    assert len(beats) >= 3
    assert beats == sorted(set(beats))
    lab.down(drive)
