"""How a machine came to its end, as tags, its state reason and its snapshots tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.drive.model import LIVE, Drive
from xportal.errors import GoingDown

# State reasons of what a person did, and of what was done on the machine; all others are AWS's doing.
BY_SOMEBODY, BY_ITSELF = "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown"
AWS_SECOND = timedelta(seconds=1)  # AWS tells its time to the second, so of two times within one none is the later
IDLE, SHUTDOWN = "idle", "shutdown"
OWN_SAVES = (IDLE, SHUTDOWN)  # ids of the saves that a machine makes when it ends without a notice
NOTICE = "notice-"  # how the id of a save begins that a machine makes when AWS takes it back


class Ending(Enum):
    """Who ended a machine."""

    INTERRUPTION = "AWS, or an up that needs another one"
    SOMEBODY = "a person, a down, or a watch"
    ITSELF = "a shutdown from within, as when it is idle"


@dataclass
class Ends:
    """The ends of a portal by a `down` that were known when it was asked for. Whoever types `down` after that wants it
    no more, also while it is coming up.
    """

    portal: str
    known: frozenset[str] | None = None  # as the drives' copies tell them; None: those that the first look shows
    since: datetime | None = None  # the time of that look, by AWS's clock; None: any other end counts

    def look(self, drives: Iterable[Drive]) -> None:
        """Raises GoingDown if the drives tell of another end. One that came before the first look may show late."""
        there = list(drives)
        told = ends_of(there)
        if self.known is None:
            self.known, self.since = told, max((drive.now for drive in there), default=None)
        elif any(map(self._is_later, told - self.known)):
            raise GoingDown(
                f'somebody has brought portal "{self.portal}" down meanwhile',
                hint=f"xportal up {self.portal} brings it up again",
            )

    def _is_later(self, end: str) -> bool:
        moment = foreign.moment(end)
        return self.since is None or (moment is not None and moment > self.since + AWS_SECOND)


def ends_of(drives: Iterable[Drive]) -> frozenset[str]:
    """The ends that the drives' copies tell of: when each was, as the `down` wrote it."""
    return frozenset(end for drive in drives for copy in drive.copies if (end := copy.tags.get(tags.ENDED)))


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


def tell_end(machine: Instance | None, drive: Drive, idle_minutes: float | None) -> str | None:
    """How a portal that is down lost its last machine, as a sentence; None if nothing tells.

    `machine` is the newest of the portal that AWS still lists, `drive` the portal's first.
    """
    newest = drive.newest()
    if newest is None or (machine and machine.state in LIVE):
        return None
    # The volume may still be there, its final save complete or not.
    final = drive.final_of(newest) if isinstance(newest, Volume) else newest
    for copy in (newest, final):
        if copy and (moment := foreign.moment(copy.tags.get(tags.ENDED, ""))):
            return f"a down ended its machine at {_utc(moment)}"
    idle = f"{idle_minutes:g} minutes" if idle_minutes else "its idle minutes"
    if final and final.tags.get(tags.KIND) == tags.FINAL:
        save, at = final.tags.get(tags.SAVE, ""), _utc(final.started)
        if save == IDLE:
            return f"nobody used its machine for {idle}: that saved and ended itself at {at} (--idle-minutes 0: never)"
        if save == SHUTDOWN:
            return f"its machine was shut down, and saved itself at {at}"
        if save.startswith(NOTICE):
            return f"AWS took its machine back, which saved itself at {at}"
    if machine is None or machine.tags.get(tags.LAUNCH) != newest.tags.get(tags.LAUNCH):
        return None
    return {
        Ending.SOMEBODY: f"somebody ended its machine, {machine.id}",
        Ending.ITSELF: f"its machine, {machine.id}, was shut down from within, as when nobody uses it for {idle}",
        Ending.INTERRUPTION: f"AWS ended its machine, {machine.id}",
    }[ending_of(machine, [drive])]


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


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
