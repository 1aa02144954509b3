"""The drive protocol's state table as a pure function: one observation and a goal give the one next action.

What it guards stands beside each rule: I1 newest wins, I2 nothing is deleted before its
successor is complete, I3 one writer. docs/drive-protocol.md has the table in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from xportal.aws import tags
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.drive.model import ENDING, HEARTBEAT_LIMIT, LIVE, Drive, LockState
from xportal.errors import DriveForked, DriveInUse, SnapshotFailed, XportalError


class Goal(Enum):
    """What the user wants of a drive."""

    UP = "up"
    DOWN = "down"
    SWEEP = "sweep"


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
class KeepVolume:
    """Switch off DeleteOnTermination, which somebody switched on."""

    machine: Instance
    volume: Volume


@dataclass(frozen=True)
class Terminate:
    """End a machine."""

    machine: Instance


@dataclass(frozen=True)
class SnapshotVolume:
    """Snapshot a detached volume: always right, whatever happened to its machine."""

    volume: Volume


@dataclass(frozen=True)
class DeleteVolume:
    """Delete a volume whose successor is complete."""

    volume: Volume
    successor: Snapshot


@dataclass(frozen=True)
class Wait:
    """Look again in a moment."""

    text: str


# Actions that end the loop


@dataclass(frozen=True)
class Launch:
    """Launch a machine with the drive restored from `source`, or blank if there is none."""

    source: Snapshot | None
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


Action = (TakeLock | ReleaseLock | SaveOnMachine | KeepVolume | Terminate | SnapshotVolume | DeleteVolume | Wait) | (
    Launch | Ready | Done | Refuse
)


def plan(
    goal: Goal,
    drive: Drive,
    *,
    portal: str | None = None,
    mine: str | None = None,
    unreachable: frozenset[str] = frozenset(),
    seen: frozenset[str] | None = None,
) -> Action:
    """The next action.

    `portal` is the portal that asks (None: any), `mine` the launch id of the lock that the caller holds,
    `unreachable` the ids of machines on which a save was tried and which do not answer, `seen` the ids of the
    machines and the lock that were there when the command began (None: all): `down` does not end a later `up`.
    """
    if goal is Goal.UP:
        return _plan_up(drive, portal, mine)
    return _plan_end(goal, drive, portal, mine, unreachable, seen)


def _plan_up(drive: Drive, portal: str | None, mine: str | None) -> Action:
    machine = drive.live_machine()
    if machine and machine.tags.get(tags.PORTAL) != portal:
        return Refuse(_in_use(drive, machine))
    if machine and not drive.is_saved(machine):
        return Ready(machine)
    state = drive.lock_state(mine)
    if machine or state is LockState.HELD:  # it is saved, stopped or on its way out: end it
        return _settle_volumes(drive, frozenset()) or _settle_machines(drive) or Wait("the machine is going away")
    if state is LockState.STARTING:
        return Refuse(_in_use(drive, None))
    if drive.lock and state is LockState.STALE:
        return ReleaseLock(drive.lock, "its holder is gone")
    if drive.forks():
        return Refuse(_forked(drive))
    if state is LockState.FREE:
        return TakeLock()
    return _settle_volumes(drive, frozenset()) or _restore(drive)


def _restore(drive: Drive) -> Action:
    newest = drive.newest_snapshot()
    if newest is None:
        return Launch(None, 1)
    if newest.state == "pending":  # I1: never skipped in silence
        return Wait(_pending_text(newest))
    if newest.state != "completed":
        return Refuse(
            SnapshotFailed(
                f'the newest snapshot of drive "{drive.name}", {newest.id}, is in state {newest.state}',
                hint=f"to go on from the one before it, delete {newest.id} in the AWS console",
            )
        )
    return Launch(newest, drive.generation_of(newest) + 1)


def _plan_end(
    goal: Goal,
    drive: Drive,
    portal: str | None,
    mine: str | None,
    unreachable: frozenset[str],
    seen: frozenset[str] | None,
) -> Action:
    state = drive.lock_state(mine)
    machine = drive.live_machine()
    if seen is not None and _is_later(drive, machine, seen):
        return Done()  # what we came for is saved, and somebody brought it up again
    if goal is Goal.SWEEP and ((machine and not drive.is_saved(machine)) or state is LockState.STARTING):
        return Done()  # somebody works on it
    if machine and portal is not None and machine.tags.get(tags.PORTAL) != portal:
        return Refuse(_in_use(drive, machine))
    if state is LockState.STARTING:
        return Refuse(_in_use(drive, None))
    action = _settle_volumes(drive, unreachable) or _settle_machines(drive)
    if action:
        return action
    if drive.lock:
        return ReleaseLock(drive.lock, "all is saved")
    return Done()


def _is_later(drive: Drive, machine: Instance | None, seen: frozenset[str]) -> bool:
    return (machine is not None and machine.id not in seen) or (drive.lock is not None and drive.lock.id not in seen)


def _settle_volumes(drive: Drive, unreachable: frozenset[str]) -> Action | None:
    """Those on live machines first: they cost most, and can be taken away."""

    def order(volume: Volume) -> tuple[bool, int]:
        machine = drive.machine_of(volume)
        return (machine is None or machine.state not in LIVE, drive.generation_of(volume))

    for volume in sorted(drive.volumes, key=order):
        action = _settle(drive, volume, unreachable)
        if action:
            return action
    return None


def _settle(drive: Drive, volume: Volume, unreachable: frozenset[str]) -> Action | None:
    """I2: save, end the machine, wait for the snapshot, delete; each seen before the next."""
    machine = drive.machine_of(volume)
    if machine is None:
        return _settle_detached(drive, volume)
    if drive.is_foreign(machine):
        return Refuse(_attached_elsewhere(drive, volume, machine))
    if machine.state in ENDING:
        return Wait(f"{machine.id} is {machine.state}")
    if volume.delete_on_termination:
        return KeepVolume(machine, volume)
    if machine.state == "pending":
        return Wait(f"{machine.id} is pending")
    if machine.state == "running" and not drive.is_saved(machine) and machine.id not in unreachable:
        return SaveOnMachine(machine, volume)
    return Terminate(machine)


def _settle_detached(drive: Drive, volume: Volume) -> Action | None:
    final = drive.final_of(volume)
    if volume.state == "error":
        return Refuse(_broken(drive, volume))
    if volume.state != "available":
        return Wait(f"{volume.id} is {volume.state}")
    if final is None or final.state == "error":
        return SnapshotVolume(volume)
    if final.state != "completed":
        return Wait(_pending_text(final))
    return DeleteVolume(volume, final)


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


def _in_use(drive: Drive, machine: Instance | None) -> DriveInUse:
    if machine:
        portal = machine.tags.get(tags.PORTAL, "?")
        return DriveInUse(
            f'drive "{drive.name}" is in use by {machine.id} (portal "{portal}", {machine.type} in {machine.zone})',
            hint=f"xportal down {portal}        saves it and frees the drive",
        )
    holder = drive.lock.tags.get(tags.HOLDER, "somebody") if drive.lock else "somebody"
    return DriveInUse(
        f'drive "{drive.name}" is being brought up by {holder}, seen {drive.heartbeat_age():.0f} s ago',
        hint=f"wait for it; if it was cut off, it is taken over {HEARTBEAT_LIMIT.seconds} s after it was last seen",
    )


def _forked(drive: Drive) -> DriveForked:
    return DriveForked(
        f'drive "{drive.name}" has two newest copies: {", ".join(drive.forks())}',
        hint=f"xportal drives {drive.name} shows both; nothing is deleted before you chose",
    )


def _attached_elsewhere(drive: Drive, volume: Volume, machine: Instance) -> DriveInUse:
    return DriveInUse(
        f'{volume.id} of drive "{drive.name}" is attached to {machine.id}, which is not xportal\'s',
        hint=f"detach it: aws ec2 detach-volume --volume-id {volume.id}",
    )


def _broken(drive: Drive, volume: Volume) -> DriveInUse:
    return DriveInUse(
        f'{volume.id} of drive "{drive.name}" is in state {volume.state}',
        hint="AWS lost it or could not make it; if its data is in a snapshot, delete it in the AWS console",
    )
