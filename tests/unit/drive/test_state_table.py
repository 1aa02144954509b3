"""Every combination of what can be observed, for every goal: the invariants hold, and each leads to an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.drive.state_table import (
    CALLER,
    COLUMNS,
    DELETIONS,
    KEEP,
    NOW,
    SAVE,
    STATES,
    State,
    lock,
    snapshot,
    table,
)
from xportal.aws import tags
from xportal.aws.records import Snapshot, Volume
from xportal.drive import plan as p
from xportal.drive.generations import restored_text
from xportal.drive.model import ENDING, LIVE, Drive, LockState
from xportal.drive.plan import Goal

PAGE = Path(__file__).parents[3] / "docs" / "state-table.md"
MOST_STEPS = 20
LATER = NOW + timedelta(days=1)
GOALS = {**COLUMNS, **DELETIONS, "restore": (Goal.RESTORE, frozenset[str]())}


def test_the_page_is_the_planner() -> None:
    """docs/state-table.md is what the planner does."""
    assert PAGE.read_text() == table(), "python -m tests.unit.drive.state_table > docs/state-table.md"


@pytest.mark.parametrize(("goal", "zones"), GOALS.values(), ids=GOALS)
def test_invariants(goal: Goal, zones: frozenset[str]) -> None:
    """No combination makes the planner break I1, I2 or I3."""
    for state in STATES:
        for mine in (CALLER, None):
            check(goal, state.drive, state.plan(goal, zones, mine=mine), mine)


def check(goal: Goal, drive: Drive, action: p.Action, mine: str | None) -> None:  # noqa: C901, PLR0912  one case an action
    """What must hold of one action."""
    lock_state = drive.lock_state(mine)
    live = drive.live_machine()
    match action:
        case p.DeleteVolume(volume) if goal is Goal.DELETE:
            check_given_up(drive, (volume,), mine)
        case p.DeleteVolume(volume):
            assert drive.machine_of(volume) is None
            complete = [s for s in drive.snapshots if s.volume_id == volume.id and s.state == "completed"]
            assert goal is Goal.DISCARD or any(s.tags[tags.KIND] == tags.FINAL for s in complete)  # I2
            assert goal in (Goal.UP, Goal.DOWN, Goal.SWEEP, Goal.DISCARD)
            assert goal is not Goal.DISCARD or tags.MARKED in volume.tags  # I11
        case p.Mark(copies):
            assert goal in (Goal.DISCARD, Goal.DOWN, Goal.SWEEP, Goal.PRUNE, Goal.DELETE)
            assert not any(tags.MARKED in copy.tags for copy in copies)
        case p.Launch(source):
            assert goal is Goal.UP
            assert lock_state is LockState.MINE  # I3
            assert live is None
            assert not drive.forks()
            if isinstance(source, Volume):
                assert (drive.volumes, drive.newest(), source.state) == ((source,), source, "available")  # I1
                assert lives(drive, source)
                return
            assert not drive.volumes
            assert source == newest_by_hand(drive)  # I1
            assert source is None or source.state == "completed"
        case p.Attach(machine, volume, generation):
            assert goal is Goal.UP
            assert (machine, machine.state, machine.zone) == (live, "running", volume.zone)
            assert (drive.volumes, drive.newest(), volume.state) == ((volume,), volume, "available")  # I1
            assert not drive.forks()
            assert all(drive.generation_of(s) < generation for s in drive.snapshots)  # I2: none counts as its final
            assert lives(drive, volume)
        case p.TakeLock():
            assert goal in (Goal.UP, Goal.RESTORE, Goal.DELETE)
            assert drive.lock is None
        case p.ReleaseLock(held):
            assert held == drive.lock
            assert lock_state not in (LockState.STARTING, LockState.FOREIGN)
            assert lock_state is not LockState.HELD
        case p.Terminate(machine):
            assert goal in (Goal.UP, Goal.DOWN, Goal.SWEEP, Goal.DISCARD)
            assert not drive.is_foreign(machine)
            attached = [v for v in drive.volumes if v.instance_id == machine.id]
            assert goal is not Goal.SWEEP or machine.state == "stopped" or drive.is_spent(machine)
            if goal is not Goal.DISCARD:
                assert not any(v.delete_on_termination for v in attached)  # I2
                assert machine.state == "stopped" or drive.is_saved(machine) or not attached
        case p.Ready(machine):
            assert goal is Goal.UP
            assert machine.state in LIVE
            assert not drive.is_saved(machine)
            assert not any(tags.MARKED in v.tags for v in drive.volumes if v.instance_id == machine.id)  # I11
        case p.SaveOnMachine(machine, volume):
            assert goal is Goal.DOWN or (goal is Goal.UP and tags.MARKED in volume.tags)
            assert (machine.state, volume.instance_id) == ("running", machine.id)
        case p.SnapshotVolume(volume):
            assert goal in (Goal.UP, Goal.DOWN, Goal.SWEEP)
            assert (volume.instance_id, volume.state) == (None, "available")
            assert drive.awaiting() is None  # what is attached after a snapshot must not be taken for saved
        case p.Checkpoint():
            assert goal is Goal.SAVE
        case p.Prune(snapshots) if goal is Goal.DELETE:
            check_given_up(drive, snapshots, mine)
        case p.Prune(snapshots) if goal is Goal.PRUNE:
            newest = max((s for s in drive.snapshots if s.state == "completed"), key=drive.order_of)
            assert newest not in snapshots
            assert all(s.state == "completed" and tags.MARKED in s.tags for s in snapshots)  # I11
            assert not drive.forks()
            there = {v.id for v in drive.volumes} | {v.snapshot_id for v in drive.volumes}
            assert not there & {id_ for s in snapshots for id_ in (s.id, s.volume_id)}  # they may permit a deletion
        case p.Prune(snapshots):
            assert goal in (Goal.DOWN, Goal.SWEEP)
            assert live is None
            final = drive.newest_snapshot()
            assert final
            assert (final.tags[tags.KIND], final.state) == (tags.FINAL, "completed")
            assert all(s.tags.get(tags.ROLLING) == "1" and s != final for s in snapshots)
            assert all(tags.MARKED in s.tags for s in snapshots)  # I11
        case p.Choose():
            assert (goal, lock_state, live) == (Goal.RESTORE, LockState.MINE, None)
        case p.Refuse(error):
            assert error.hint


def check_given_up(drive: Drive, gone: Sequence[Volume | Snapshot], mine: str | None) -> None:
    """A drive that is deleted: nobody works on it or is about to, all is marked, and the newest copy goes last."""
    assert drive.live_machine() is None
    assert drive.lock_state(mine) is LockState.MINE  # I3
    ours = [copy for copy in drive.copies if isinstance(copy, Volume) or copy.description]
    assert all(tags.MARKED in copy.tags for copy in ours)  # I11
    left = [copy for copy in ours if copy not in gone]
    assert not left or max(ours, key=drive.order_of) in left


def lives(drive: Drive, volume: Volume) -> bool:
    """I11: nobody can have decided to delete the volume that is to be attached."""
    finals = [
        s for s in drive.snapshots if s.volume_id == volume.id and s.tags.get(tags.KIND) in (tags.FINAL, tags.WITHDRAWN)
    ]
    return tags.MARKED not in volume.tags and all(s.state in ("pending", "error") for s in finals)


def newest_by_hand(drive: Drive) -> Snapshot | None:
    """The newest snapshot of the table's states: those of generation 2, what was made by hand last."""
    return max(drive.snapshots, key=lambda s: (s.volume_id == "vol-2", s.started), default=None)


@pytest.mark.parametrize(("goal", "zones"), GOALS.values(), ids=GOALS)
def test_every_state_leads_to_an_end(goal: Goal, zones: frozenset[str]) -> None:
    """Done, launched, ready or refused, in a few steps: no combination goes round in circles."""
    for state in STATES:
        drive = state.drive
        action: p.Action = p.Done()
        for _ in range(MOST_STEPS):
            action = planned(goal, drive, zones)
            if isinstance(action, (p.Done, p.Launch, p.Attach, p.Ready, p.Refuse)):
                break
            drive = carried_out(drive, action)
        else:
            pytest.fail(f"{goal.value} goes round in {state}: {action}")
        if goal is Goal.DELETE and isinstance(action, p.Done):
            assert not [copy for copy in drive.copies if isinstance(copy, Volume) or copy.description], state
        if goal in (Goal.DOWN, Goal.SWEEP) and isinstance(action, p.Done):
            check_rest(goal, state, drive)


def planned(goal: Goal, drive: Drive, zones: frozenset[str]) -> p.Action:
    """The next action of a caller who has the lock, or takes it."""
    portal = None if goal is Goal.SWEEP else "demo"
    choice = "snap-1" if goal is Goal.RESTORE else SAVE
    known = {copy.id for copy in drive.copies} if goal is Goal.DELETE else set[str]()
    asked = p.Request(goal, portal, CALLER, choice=choice, zones=zones, keep=KEEP, given_up=frozenset(known))
    return p.plan(drive, asked)


def check_rest(goal: Goal, state: State, drive: Drive) -> None:
    """I6: at its end nothing is left, unless somebody works on it."""
    if goal is Goal.SWEEP and (drive.live_machine() or drive.lock_state(CALLER) is LockState.STARTING):
        return
    assert not drive.volumes, state
    assert all(m.state == "terminated" or drive.is_foreign(m) for m in drive.machines.values()), state
    assert drive.lock_state(CALLER) in (LockState.FREE, LockState.FOREIGN), state


def carried_out(drive: Drive, action: p.Action) -> Drive:  # noqa: C901, PLR0912  one case an action
    """What AWS shows afterwards, when all goes well and time passes."""
    machines = dict(drive.machines)
    volumes = {v.id: v for v in drive.volumes}
    snapshots = {s.id: s for s in drive.snapshots}
    held = drive.lock
    match action:
        case p.TakeLock():
            held = lock(CALLER)
        case p.ReleaseLock():
            held = None
        case p.KeepVolume(_, volume):
            told = {**volume.tags, tags.DRIVE: "demo"}
            volumes[volume.id] = replace(volume, delete_on_termination=False, tags=told)
        case p.SaveOnMachine(_, volume) | p.SnapshotVolume(volume):
            number = len(snapshots)
            snapshots[f"snap-{number}x"] = replace(
                snapshot(f"snap-{number}x", drive.generation_of(volume), tags.FINAL, "pending", number),
                volume_id=volume.id,
            )
        case p.Checkpoint(_, volume):
            taken = snapshot("snap-save", 2, tags.CHECKPOINT)
            snapshots["snap-save"] = replace(taken, volume_id=volume.id, tags={**taken.tags, tags.SAVE: SAVE})
        case p.Terminate(machine):
            machines[machine.id] = replace(machine, state="shutting-down")
        case p.Mark(copies):
            for copy in copies:
                told = {**copy.tags, tags.MARKED: LATER.isoformat()}
                if isinstance(copy, Snapshot):
                    snapshots[copy.id] = replace(copy, tags=told)
                else:
                    volumes[copy.id] = replace(copy, tags=told)
        case p.Prune(needless):
            for one in needless:
                del snapshots[one.id]
        case p.DeleteVolume(volume):
            del volumes[volume.id]
        case p.Choose(copy, generation):
            told = {**copy.tags, tags.GENERATION: str(generation), tags.RESTORED: restored_text(1, LATER)}
            if isinstance(copy, Snapshot):
                snapshots[copy.id] = replace(copy, tags=told)
            else:
                volumes[copy.id] = replace(copy, tags=told)
        case p.Wait():
            passed = {"pending": "running"} | dict.fromkeys(ENDING, "terminated")
            machines = {i: replace(m, state=passed.get(m.state, m.state)) for i, m in machines.items()}
            snapshots = {i: replace(s, state=s.state.replace("pending", "completed")) for i, s in snapshots.items()}
            volumes = {i: replace(v, state=v.state.replace("creating", "available")) for i, v in volumes.items()}
    gone = {m.id for m in machines.values() if m.state == "terminated"}
    volumes = {
        i: replace(v, instance_id=None, device=None, state="available") if v.instance_id in gone else v
        for i, v in volumes.items()
    }
    return replace(
        drive, lock=held, machines=machines, volumes=tuple(volumes.values()), snapshots=tuple(snapshots.values())
    )
