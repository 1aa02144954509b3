"""The drive protocol's state table as a pure function: one observation and a goal give the one next action.

What it guards stands beside each rule: I1 newest wins, I2 nothing is deleted before its
successor is complete, I3 one writer. docs/drive-protocol.md has the table in words.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from xportal.aws import tags
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.drive import refusals
from xportal.drive.keep import Keep, needless
from xportal.drive.made import described
from xportal.drive.model import ENDING, LIVE, Drive, LockState
from xportal.errors import XportalError


class Goal(Enum):
    """What the user wants of a drive."""

    UP = "up"
    SAVE = "save"  # a checkpoint: work goes on
    DOWN = "down"
    DISCARD = "discard"  # end without saving
    SWEEP = "sweep"
    RESTORE = "restore"  # a copy that the user chose becomes the newest
    PRUNE = "prune"  # snapshots that the user does not keep are deleted
    DELETE = "delete"  # the drive is given up, with all that xportal made of it


# Actions that the lifecycle carries out


@dataclass(frozen=True)
class TakeLock:
    """Import the drive's key pair."""


@dataclass(frozen=True)
class ReleaseLock:
    """Delete the drive's key pair, by its id."""

    lock: KeyPair
    why: str


@dataclass(frozen=True)
class SaveOnMachine:
    """Have the agent quiesce and unmount, then snapshot the volume as a final save."""

    machine: Instance
    volume: Volume


@dataclass(frozen=True)
class Checkpoint:
    """Freeze the drive for a moment, snapshot it, let the work go on."""

    machine: Instance
    volume: Volume


@dataclass(frozen=True)
class KeepVolume:
    """Undo what somebody did that would lose the volume: switch DeleteOnTermination off, put its tags back."""

    machine: Instance | None
    volume: Volume


@dataclass(frozen=True)
class Terminate:
    """End a machine. `at_once`: without the shutdown in which its agent saves."""

    machine: Instance
    at_once: bool = False


@dataclass(frozen=True)
class SnapshotVolume:
    """Snapshot a detached volume: always right, whatever happened to its machine."""

    volume: Volume


@dataclass(frozen=True)
class Mark:
    """Say on copies that they are to be deleted: looked at once more after that, they go. A mark is for ever (I11)."""

    copies: tuple[Volume | Snapshot, ...]


@dataclass(frozen=True)
class DeleteVolume:
    """Delete a volume whose successor is complete, or that the user gave up."""

    volume: Volume
    why: str


@dataclass(frozen=True)
class Disown:
    """Say on snapshots that what they have counts less than what the drive went on with."""

    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True)
class DiscardCopies:
    """Delete copies that a launch made and nobody took over: their sources are there."""

    copies: tuple[Volume, ...]


@dataclass(frozen=True)
class Prune:
    """Delete snapshots; `why` is a clause. `asked`: a user asked for it, and an error is theirs to mend."""

    snapshots: tuple[Snapshot, ...]
    why: str
    asked: bool = False


@dataclass(frozen=True)
class Choose:
    """Put a copy before all others, as a generation of its own."""

    copy: Volume | Snapshot
    generation: int


@dataclass(frozen=True)
class Wait:
    """Look again in a moment."""

    text: str


# Actions that end the loop


@dataclass(frozen=True)
class Launch:
    """Launch a machine for the drive: restored from `source`, itself attached if that is a volume; blank without."""

    source: Snapshot | Volume | None
    generation: int


@dataclass(frozen=True)
class Attach:
    """Attach the drive's volume to the machine that was launched for it."""

    machine: Instance
    volume: Volume
    generation: int


@dataclass(frozen=True)
class Ready:
    """The drive is awake on this machine."""

    machine: Instance


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""


@dataclass(frozen=True)
class Refuse:
    """The state forbids the goal; the user must choose."""

    error: XportalError


Action = (
    (TakeLock | ReleaseLock | SaveOnMachine | Checkpoint | KeepVolume | Terminate | SnapshotVolume)
    | (Mark | DeleteVolume | Disown | DiscardCopies | Prune | Choose | Wait)
    | (Launch | Attach | Ready | Done | Refuse)
)


@dataclass(frozen=True)
class Request:
    """What a caller wants of a drive, and what it knows that no observation shows."""

    goal: Goal
    portal: str | None = None  # the portal that asks; None: any
    launch_id: str | None = None  # the launch id of the lock that the caller holds
    # Ids of machines on which a save was tried: what is left to do is done with the detached volume.
    unreachable: frozenset[str] = frozenset()
    # What was there when the command began (`Drive.there`); None: all. A `down` does not end a later `up`, and the
    # life of the newest copy that is named here is the only one that is discarded.
    seen: frozenset[str] | None = None
    choice: str = ""  # the id of the checkpoint to take (SAVE), or of the copy to put first (RESTORE)
    wait: bool = True  # False: a `down` is done as soon as everything that is left goes on by itself
    # Those in which the caller can have a machine: a volume that is there is attached, not saved first (UP).
    zones: frozenset[str] = frozenset()
    keep: Keep | None = None  # which snapshots stay (PRUNE)
    given_up: frozenset[str] = frozenset()  # ids of the copies that the user said go (DELETE; PRUNE, where none is all)


def plan(drive: Drive, asked: Request) -> Action:
    """The next action."""
    match asked.goal:
        case Goal.UP:
            return _plan_up(drive, asked)
        case Goal.SAVE:
            return _plan_save(drive, asked)
        case Goal.RESTORE:
            return _plan_restore(drive, asked)
        case Goal.PRUNE:
            return _plan_prune(drive, asked)
        case Goal.DELETE:
            return _plan_delete(drive, asked)
        case Goal.DISCARD:
            return _plan_discard(drive, asked)
        case Goal.DOWN | Goal.SWEEP:
            return _plan_end(drive, asked)


@dataclass(frozen=True)
class Unconfirmed:
    """A launch that its holder does not confirm, as AWS shows it."""

    machine: Instance
    copies: tuple[Volume, ...]  # of its sources, root disks aside
    saves: tuple[Snapshot, ...]  # of these copies
    attached: bool  # whether somebody attached the volumes that the machine was launched for
    marked: Mapping[str, bool]  # what bears the mark, by id: whether all that others did before they saw it shows, too


def plan_unconfirmed(found: Unconfirmed) -> Action:
    """End the machine without a save, and delete its copies; Ready if another `up` took it over: it is left alone.

    The mark comes first, and the look whether somebody took it over twice AWS's lag later; who takes it over says so
    first, and then looks for the mark (I3). So one of the two sees the other.
    """
    machine = found.machine
    unmarked = tuple(v for v in found.copies if v.id not in found.marked)
    if unmarked:
        return Mark(unmarked)
    taken = [v for v in found.copies if tags.GENERATION in v.tags]
    if machine.state not in (*ENDING, "terminated"):
        if not all(found.marked.values()):
            return Wait(f"{machine.id} is ended in a moment, unless somebody uses it")
        return Ready(machine) if taken or found.attached else Terminate(machine, at_once=True)
    if machine.state != "terminated":
        return Wait(f"{machine.id} is {machine.state}")
    left = tuple(v for v in found.copies if v not in taken)
    ours = tuple(v for v in left if found.marked[v.id])  # a confirmation of before the mark would show
    saves = tuple(s for s in found.saves if tags.STRAY not in s.tags and any(s.volume_id == v.id for v in ours))
    if saves:
        return Disown(saves)
    free = tuple(v for v in ours if v.state == "available")
    if free:
        return DiscardCopies(free)
    return Wait(f"{left[0].id} is {left[0].state}") if left else Done()


def _plan_up(drive: Drive, asked: Request) -> Action:
    machine = drive.live_machine()
    if machine and _is_anothers(machine, asked.portal):
        return Refuse(refusals.in_use(drive, machine))
    if machine and not drive.is_spent(machine) and not drive.has_lost(machine):
        return Ready(machine)
    attaching = _attach(drive)
    if attaching:
        return attaching
    state = drive.lock_state(asked.launch_id)
    if machine or state is LockState.HELD:  # it is saved, marked, stopped, without its drive or on its way out: end it
        return _settle_for(drive, asked) or Wait("the machine is going away")
    if drive.lock and state is LockState.FOREIGN:
        return Refuse(refusals.strange_lock(drive, drive.lock))
    if state is LockState.STARTING:
        return Refuse(refusals.in_use(drive, None))
    if drive.lock and state is LockState.STALE:
        return ReleaseLock(drive.lock, "its holder is gone")
    unclear = _unclear(drive)
    if unclear:
        return unclear
    if state is LockState.FREE:
        return TakeLock()
    return _settle_for(drive, asked) or _restore(drive)


def _unclear(drive: Drive) -> Refuse | None:
    error = refusals.unclear(drive)
    return Refuse(error) if error else None


def _attach(drive: Drive) -> Attach | None:
    """Its generation is raised before: then no earlier final save permits to delete it (I2)."""
    machine, volume = drive.awaiting(), drive.attachable()
    if machine is None or volume is None or drive.is_spent(machine):
        return None
    if (machine.state, machine.zone) != ("running", volume.zone):
        return None
    generation = drive.awaited_generation(machine)
    return Attach(machine, volume, generation) if generation >= drive.generation_of(volume) else None


def _settle_for(drive: Drive, asked: Request) -> Action | None:
    """What stands before a launch. A volume that can be attached is left as it is."""
    volume = drive.attachable()
    if volume and volume.zone in asked.zones:
        return _settle_machines(drive)
    return _settle_volumes(drive, asked) or _settle_machines(drive)


def _restore(drive: Drive) -> Action:
    volume = drive.attachable()
    if volume:
        return Launch(volume, drive.next_generation())
    newest = drive.newest_snapshot()
    if newest is None:
        return Launch(None, 1)
    if newest.state == "pending":  # I1: never skipped in silence
        return Wait(_pending_text(newest))
    if newest.state != "completed":
        return Refuse(refusals.newest_failed(drive, newest))
    return Launch(newest, drive.generation_of(newest) + 1)


def _plan_save(drive: Drive, asked: Request) -> Action:
    """A checkpoint is known by its save's id: one whose answer was lost is found again."""
    taken = drive.checkpoint_of(asked.choice)
    if taken and taken.state == "error":
        return Refuse(refusals.checkpoint_failed(drive, taken))
    if taken:
        return Wait(_pending_text(taken)) if asked.wait and taken.state != "completed" else Done()
    machine = drive.live_machine()
    if machine is None:
        return Refuse(refusals.not_up(drive, asked.portal))
    if _is_anothers(machine, asked.portal):
        return Refuse(refusals.in_use(drive, machine))
    if machine.state == "pending":
        return Wait(f"{machine.id} is pending")
    volume = next((v for v in drive.volumes if v.instance_id == machine.id), None)
    if volume is None or drive.is_spent(machine):
        return Refuse(refusals.on_its_way_down(drive, machine))
    return Checkpoint(machine, volume)


def _plan_restore(drive: Drive, asked: Request) -> Action:
    busy = _busy(drive, asked)
    if busy:
        return busy
    state = drive.lock_state(asked.launch_id)
    chosen = drive.find_copy(asked.choice)
    if chosen is None or chosen.state == "error":
        return Refuse(refusals.no_such_copy(drive, asked.choice, chosen))
    if drive.is_going(chosen):
        return Refuse(refusals.is_going(drive, chosen))
    if drive.newest() == chosen and not _unclear(drive):
        return ReleaseLock(drive.lock, f"{asked.choice} is the newest") if drive.lock else Done()
    if drive.lock and state is LockState.STALE:
        return ReleaseLock(drive.lock, "its holder is gone")
    if state is LockState.FREE:
        return TakeLock()
    return Choose(chosen, drive.next_generation())


def _busy(drive: Drive, asked: Request) -> Wait | Refuse | None:
    """Why nobody but its machine, or who is about to launch one, decides about a drive."""
    machine = next((m for m in drive.machines.values() if m.state != "terminated" and not drive.is_foreign(m)), None)
    if machine:
        return (
            Wait(f"{machine.id} is {machine.state}")
            if machine.state in ENDING
            else Refuse(refusals.in_use(drive, machine))
        )
    state = drive.lock_state(asked.launch_id)
    if drive.lock and state is LockState.FOREIGN:
        return Refuse(refusals.strange_lock(drive, drive.lock))
    return Refuse(refusals.in_use(drive, None)) if state is LockState.STARTING else None


def _plan_prune(drive: Drive, asked: Request) -> Action:
    """Without the lock, and while the drive is awake: the newest data is never among what goes."""
    if asked.keep is None:
        raise AssertionError("who prunes says what to keep")
    return (
        _unclear(drive)
        or _prune(needless(drive, asked.keep, asked.given_up or None), "the others are kept", asked=True)
        or Done()
    )


def _plan_delete(drive: Drive, asked: Request) -> Action:
    """Oldest first: if it breaks off, the newest data is still whole, and the next `up` goes on from it (I1)."""
    busy = _busy(drive, asked)
    if busy:
        return busy
    for volume in drive.volumes:
        machine = drive.machine_of(volume)
        if machine:
            return Refuse(refusals.attached_elsewhere(drive, volume, machine))
    ours = (s for s in drive.snapshots if described(s) and tags.STAYS not in s.tags)
    copies: list[Volume | Snapshot] = [*drive.volumes, *ours]
    going = sorted(copies, key=drive.order_of)
    later = next((copy for copy in going if copy.id not in asked.given_up), None)
    if later:
        return Refuse(refusals.came_later(drive, later))
    if not going:
        return _release(drive, "nothing is left of the drive")
    state = drive.lock_state(asked.launch_id)
    if drive.lock and state is LockState.STALE:
        return ReleaseLock(drive.lock, "its holder is gone")
    return TakeLock() if state is LockState.FREE else _delete_oldest(going)


def _delete_oldest(going: Sequence[Volume | Snapshot]) -> Action:
    unmarked = tuple(copy for copy in going if tags.MARKED not in copy.tags)
    if unmarked:
        return Mark(unmarked)
    first = going[0]
    if first.state in ("pending", "creating", "deleting"):
        return Wait(f"{first.id} is {first.state}")
    if isinstance(first, Volume):
        return DeleteVolume(first, "its drive is given up")
    oldest = tuple(itertools.takewhile(lambda copy: isinstance(copy, Snapshot) and copy.state != "pending", going))
    return Prune(tuple(s for s in oldest if isinstance(s, Snapshot)), "their drive is given up", asked=True)


def _plan_discard(drive: Drive, asked: Request) -> Action:
    """End without saving: the newest volume goes, and only one that was there when the user said so."""
    refusal = _refuse_end(drive, asked)
    if _is_later(drive, drive.live_machine(), asked.seen):
        return Done()
    if refusal:
        return refusal
    if drive.forks():
        return Refuse(refusals.forked(drive))
    volume = drive.newest()
    if not isinstance(volume, Volume) or (asked.seen is not None and drive.life_of(volume) not in asked.seen):
        return _settle_machines(drive) or _release(drive, "all that was to go is gone")
    if tags.MARKED not in volume.tags:  # before the last look: no `up` goes on with it from here on
        return Mark((volume,))
    machine = drive.machine_of(volume)
    if machine is None:
        ready = volume.state in ("available", "error")
        return DeleteVolume(volume, "discarded") if ready else Wait(f"{volume.id} is {volume.state}")
    if drive.is_foreign(machine):
        return Refuse(refusals.attached_elsewhere(drive, volume, machine))
    return Wait(f"{machine.id} is {machine.state}") if machine.state in ENDING else Terminate(machine, at_once=True)


def _plan_end(drive: Drive, asked: Request) -> Action:
    machine = drive.live_machine()
    if _is_later(drive, machine, asked.seen):
        return Done()  # what we came for is saved, and somebody brought it up again
    starting = drive.lock_state(asked.launch_id) is LockState.STARTING
    if asked.goal is Goal.SWEEP and ((machine and not drive.is_saved(machine)) or starting):
        return Done()  # somebody works on it
    refusal = _refuse_end(drive, asked)
    if refusal:
        return refusal
    action = _settle_volumes(drive, asked) or _settle_machines(drive)
    goes_on_by_itself = machine is None and all(map(drive.is_final_started, drive.volumes))
    if isinstance(action, Wait) and not asked.wait and goes_on_by_itself:
        return Done()
    rolled = _prune(drive.superseded(), "they were rolling checkpoints, and the final save has all that they have")
    return action or rolled or _release(drive, "all is saved")


def _prune(going: tuple[Snapshot, ...], why: str, *, asked: bool = False) -> Action | None:
    """Marked before the last look: no `drives restore` chooses one from then on."""
    unmarked = tuple(s for s in going if tags.MARKED not in s.tags)
    if unmarked:
        return Mark(unmarked)
    return Prune(going, why, asked) if going else None


def _refuse_end(drive: Drive, asked: Request) -> Refuse | None:
    """Whose it is, only they end."""
    machine = drive.live_machine()
    if machine and _is_anothers(machine, asked.portal):
        return Refuse(refusals.in_use(drive, machine))
    return Refuse(refusals.in_use(drive, None)) if drive.lock_state(asked.launch_id) is LockState.STARTING else None


def _is_anothers(machine: Instance, portal: str | None) -> bool:
    """A machine that lost its portal's tag is that of whoever asks for its drive."""
    return portal is not None and machine.tags.get(tags.PORTAL, portal) != portal


def _release(drive: Drive, why: str) -> Action:
    strange = drive.lock_state(None) is LockState.FOREIGN
    return ReleaseLock(drive.lock, why) if drive.lock and not strange else Done()


def _is_later(drive: Drive, machine: Instance | None, seen: frozenset[str] | None) -> bool:
    if seen is None:
        return False
    return (machine is not None and machine.id not in seen) or (drive.lock is not None and drive.lock.id not in seen)


def _settle_volumes(drive: Drive, asked: Request) -> Action | None:
    """Those on live machines first: they cost most, and can be taken away."""

    def order(volume: Volume) -> tuple[bool, int]:
        machine = drive.machine_of(volume)
        return (machine is None or machine.state not in LIVE, drive.generation_of(volume))

    awaiting = drive.awaiting()
    if awaiting:  # first: what is attached to it after a snapshot would be taken for saved
        return Terminate(awaiting)
    for volume in sorted(drive.volumes, key=order):
        action = _settle(drive, volume, asked)
        if action:
            return action
    return None


def _settle(drive: Drive, volume: Volume, asked: Request) -> Action | None:
    """I2: save, end the machine, wait for the snapshot, delete; each seen before the next."""
    machine = drive.machine_of(volume)
    if machine is None:
        return _settle_detached(drive, volume)
    if drive.is_foreign(machine):
        return Refuse(refusals.attached_elsewhere(drive, volume, machine))
    if drive.is_untagged(volume):
        return KeepVolume(machine, volume)
    if machine.state in ENDING:
        return Wait(f"{machine.id} is {machine.state}")
    if volume.delete_on_termination:
        return KeepVolume(machine, volume)
    if machine.state == "pending":
        return Wait(f"{machine.id} is pending")
    if machine.state == "running" and not drive.is_saved(machine) and machine.id not in asked.unreachable:
        return SaveOnMachine(machine, volume)
    return Terminate(machine)


def _settle_detached(drive: Drive, volume: Volume) -> Action | None:
    final = drive.final_of(volume)
    if len(tags.drive_names(volume.tags)) > 1 and drive.forks():  # nothing tells which of several drives it is
        return Refuse(refusals.forked(drive))
    if drive.is_untagged(volume):
        return KeepVolume(None, volume)
    if volume.state == "error":
        return Refuse(refusals.broken(drive, volume))
    if volume.state != "available":
        return Wait(f"{volume.id} is {volume.state}")
    ending = next((m for m in drive.machines.values() if m.state in ENDING and not drive.is_foreign(m)), None)
    if ending:  # AWS's lists of machines and of volumes need not be of one moment: it may have the volume yet
        return Wait(f"{ending.id} is {ending.state}")
    if final is None or final.state == "error":
        return SnapshotVolume(volume)
    if final.state != "completed":
        return Wait(_pending_text(final))
    return DeleteVolume(volume, f"{final.id} is complete")


def _settle_machines(drive: Drive) -> Action | None:
    """Machines that lost their volume, and those that are still going away."""
    for machine in drive.machines.values():
        if drive.is_foreign(machine):
            continue
        if machine.state in ENDING:
            return Wait(f"{machine.id} is {machine.state}")
        if machine.state != "terminated":
            return Terminate(machine)
    return None


def _pending_text(snapshot: Snapshot) -> str:
    return f"{snapshot.id} is {snapshot.state} {snapshot.progress}".rstrip()
