"""A launch that its holder does not confirm: what is ended and deleted of it, and when (I2, I3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.drive.state_table import MARKS, UNCONFIRMED_MACHINES, unconfirmed_states
from xportal.aws import tags
from xportal.drive import plan as p

STATES = list(unconfirmed_states())
MOST_STEPS = 10


def test_invariants() -> None:
    """Nothing goes that is not marked, seen by all, and nobody's; and a copy only once its machine is gone."""
    for state in STATES:
        check(state.found)


def check(found: p.Unconfirmed) -> None:
    """What must hold of the next action."""
    match p.plan_unconfirmed(found):
        case p.Terminate(_, at_once):
            assert at_once
            assert all(found.marked.values())
            assert {v.id for v in found.copies} <= found.marked.keys()
            assert not found.attached
            assert not any(tags.GENERATION in v.tags for v in found.copies)
        case p.DiscardCopies(copies):
            assert found.machine.state == "terminated"
            assert all(found.marked[v.id] and v.state == "available" for v in copies)
            assert not any(tags.GENERATION in v.tags for v in copies)
            assert all(tags.STRAY in s.tags for s in found.saves)
        case p.Disown(snapshots):
            assert found.machine.state == "terminated"
            assert all(found.marked[s.volume_id] for s in snapshots)
            assert not any(tags.GENERATION in v.tags for v in found.copies)
        case p.Ready():
            assert found.machine.state in ("pending", "running", "stopped")
        case p.Done():
            assert found.machine.state == "terminated"
        case action:
            assert isinstance(action, (p.Mark, p.Wait))


@pytest.mark.parametrize("machine", UNCONFIRMED_MACHINES)
def test_each_leads_to_an_end(machine: str) -> None:
    """As time passes and actions have their effect."""
    for state in STATES:
        if state.machine == machine:
            assert leads_to_an_end(state.found), state


def leads_to_an_end(found: p.Unconfirmed) -> bool:
    """Within MOST_STEPS."""
    for _ in range(MOST_STEPS):
        action = p.plan_unconfirmed(found)
        if isinstance(action, (p.Ready, p.Done)):
            return True
        found = after(found, action)
    return False


def after(found: p.Unconfirmed, action: p.Action) -> p.Unconfirmed:
    """What is observed once an action has had its effect."""
    ended = replace(found.machine, state="terminated")
    free = tuple(replace(v, state="available") for v in found.copies)
    match action:
        case p.Mark():
            return replace(found, marked=MARKS["just now"])
        case p.Terminate():
            return replace(found, machine=ended, copies=free)
        case p.Disown(snapshots):
            return replace(found, saves=tuple(replace(s, tags={tags.STRAY: "1"}) for s in snapshots))
        case p.DiscardCopies(copies):
            return replace(found, copies=tuple(v for v in found.copies if v not in copies))
        case p.Wait():
            gone = found.machine.state in ("shutting-down", "stopping", "terminated")
            seen = MARKS["seen by all"]
            return replace(found, machine=ended, copies=free, marked=seen) if gone else replace(found, marked=seen)
        case _:
            raise AssertionError(f"never planned here: {action}")
