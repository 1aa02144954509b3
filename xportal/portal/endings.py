"""How a watched machine came to its end, as tags, its state reason and its snapshots tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Instance, Snapshot
from xportal.drive.model import Drive

# State reasons of what a person did, and of what was done on the machine; all others are AWS's doing.
BY_SOMEBODY, BY_ITSELF = "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown"
OWN_SAVES = ("idle", "shutdown")  # ids of the saves that a machine makes when it ends without a notice


class Ending(Enum):
    """Who ended a machine."""

    INTERRUPTION = "AWS, or an up that needs another one"
    SOMEBODY = "a person, a down, or a watch"
    ITSELF = "a shutdown from within, as when it is idle"


def ending_of(machine: Instance, drives: Sequence[Drive]) -> Ending:
    """Who ended a machine that is not live; `drives` are those that it had."""
    if tags.ENDING in machine.tags or _is_marked(machine, drives):
        return Ending.SOMEBODY
    if tags.REPLACED in machine.tags:
        return Ending.INTERRUPTION
    if machine.state_reason == BY_SOMEBODY:
        return Ending.SOMEBODY
    if machine.state_reason == BY_ITSELF or (not machine.state_reason and _is_own(machine, drives)):
        return Ending.ITSELF
    return Ending.INTERRUPTION


def last_sign(machine: Instance, drives: Sequence[Drive]) -> datetime | None:
    """When a machine took its last snapshot, or had it taken: later than that it may be gone. None without one.

    A volume that it left is saved without a save's id, whenever that may be.
    """
    return max((s.started for s in _taken(machine, drives) if tags.SAVE in s.tags), default=None)


def _is_marked(machine: Instance, drives: Sequence[Drive]) -> bool:
    """Whether a `down` came after its launch: what it marked is this machine's, or it came in a later second, for AWS
    tells launches to the second.
    """
    marked = [copy.tags for drive in drives for copy in drive.copies if copy.tags.get(tags.ENDED)]
    moments = (foreign.moment(told[tags.ENDED]) for told in marked)
    return any(told.get(tags.LAUNCH) == machine.tags.get(tags.LAUNCH) for told in marked) or any(
        moment.replace(microsecond=0) > machine.launched for moment in moments if moment
    )


def _is_own(machine: Instance, drives: Sequence[Drive]) -> bool:
    """Of a machine that AWS has forgotten: whether its final save was one that it makes unasked."""
    finals = [s for s in _taken(machine, drives) if s.tags.get(tags.KIND) == tags.FINAL]
    newest = max(finals, key=lambda s: s.started, default=None)
    return newest is not None and newest.tags.get(tags.SAVE) in OWN_SAVES


def _taken(machine: Instance, drives: Sequence[Drive]) -> Iterator[Snapshot]:
    launch = machine.tags.get(tags.LAUNCH)
    return (s for drive in drives for s in drive.snapshots if launch and s.tags.get(tags.LAUNCH) == launch)
