"""Why a goal is refused, in words: what stands in the way, and what the user can do."""

from __future__ import annotations

from xportal.aws import tags
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.drive.model import HEARTBEAT_LIMIT, Drive
from xportal.errors import DriveForked, DriveInUse, NoSuchCopy, PortalNotUp, Refused, SnapshotFailed


def in_use(drive: Drive, machine: Instance | None) -> DriveInUse:
    """Somebody works on it, on `machine`, or brings it up."""
    if machine:
        portal = tags.portal_name(machine.tags)
        return DriveInUse(
            f'drive "{drive.name}" is in use by {machine.id} (portal "{portal}", {machine.type} in {machine.zone})',
            hint=f"xportal down {portal}        saves it and frees the drive",
        )
    holder = drive.lock.tags.get(tags.HOLDER, "somebody") if drive.lock else "somebody"
    return DriveInUse(
        f'drive "{drive.name}" is being brought up by {holder}, seen {drive.heartbeat_age():.0f} s ago',
        hint=f"wait for it; if it was cut off, it is taken over {HEARTBEAT_LIMIT.seconds} s after it was last seen",
    )


def strange_lock(drive: Drive, lock: KeyPair) -> DriveInUse:
    """A key pair of the lock's name that is not ours."""
    return DriveInUse(
        f'the key pair {lock.name} ({lock.id}) is not xportal\'s, and the lock of drive "{drive.name}" has that name',
        hint=f"if you do not need it: aws ec2 delete-key-pair --key-pair-id {lock.id}",
    )


def unclear(drive: Drive) -> DriveForked | None:
    """I1: which copy is the newest, the user must say."""
    if drive.forks():
        return forked(drive)
    newest, passed_over = drive.newest_snapshot(), drive.passed_over()
    return unexplained(drive, newest, passed_over[0]) if newest and passed_over else None


def forked(drive: Drive) -> DriveForked:
    """Two copies are the newest."""
    return DriveForked(
        f'drive "{drive.name}" has two newest copies: {", ".join(drive.forks())}',
        hint=f"xportal drives history {drive.name} shows both; xportal drives restore {drive.name} ID chooses; "
        "nothing is deleted before",
    )


def unexplained(drive: Drive, newest: Snapshot, passed_over: Snapshot) -> DriveForked:
    """The newest copy claims to be later than one with which nobody has gone on."""
    return DriveForked(
        f'the newest copy of drive "{drive.name}", {newest.id} of {newest.started:%Y-%m-%d %H:%M:%S}, does not come '
        f"from an up or a restore: the copy that they led to is {passed_over.id} of "
        f"{passed_over.started:%Y-%m-%d %H:%M:%S}",
        hint=f"xportal drives restore {drive.name} {passed_over.id} goes on from that one; xportal drives restore "
        f"{drive.name} {newest.id} from the newest, if you know who made it; nothing is deleted before",
    )


def attached_elsewhere(drive: Drive, volume: Volume, machine: Instance) -> DriveInUse:
    """A volume of the drive is on a machine that is not the drive's."""
    launch = machine.tags.get(tags.LAUNCH)
    own = launch is not None and launch == volume.tags.get(tags.LAUNCH)
    tag = f"aws ec2 create-tags --resources {machine.id} --tags Key={tags.DRIVE},Value={drive.name}"
    return DriveInUse(
        f'{volume.id} of drive "{drive.name}" is attached to {machine.id}, which is not tagged as the drive\'s',
        hint=f"it is: {tag}" if own else f"detach it: aws ec2 detach-volume --volume-id {volume.id}",
    )


def broken(drive: Drive, volume: Volume) -> DriveInUse:
    """A volume of the drive is in error."""
    return DriveInUse(
        f'{volume.id} of drive "{drive.name}" is in state {volume.state}',
        hint="AWS lost it or could not make it; if its data is in a snapshot, delete it in the AWS console",
    )


def not_up(drive: Drive, portal: str | None) -> PortalNotUp:
    """A checkpoint needs a machine."""
    if drive.volumes:
        left = ", ".join(v.id for v in drive.volumes)
        return PortalNotUp(
            f'portal "{portal}" is not up; drive "{drive.name}" is in {left}, with no machine',
            hint=f"xportal down {portal}        saves it; xportal up {portal} saves it and goes on",
        )
    return PortalNotUp(f'portal "{portal}" is down: its drive is saved', hint=f"xportal up {portal}")


def on_its_way_down(drive: Drive, machine: Instance) -> Refused:
    """A checkpoint after the final save, or without the drive."""
    portal = tags.portal_name(machine.tags)
    return Refused(
        f'drive "{drive.name}" is leaving {machine.id}, or has left it', hint=f"xportal down {portal}    finishes that"
    )


def checkpoint_failed(drive: Drive, snapshot: Snapshot) -> SnapshotFailed:
    """The snapshot of this save is in error."""
    return SnapshotFailed(
        f'AWS could not finish {snapshot.id} of drive "{drive.name}"; the drive itself is untouched',
        hint="the same command takes another one",
    )


def no_such_copy(drive: Drive, choice: str, found: Volume | Snapshot | None) -> NoSuchCopy:
    """What the user chose is no copy, or in error."""
    fact = f"is in state {found.state}" if found else "is no copy of it"
    return NoSuchCopy(
        f'drive "{drive.name}" cannot go on from {choice}: it {fact}',
        hint=f"xportal drives history {drive.name} shows them all",
    )


def is_going(drive: Drive, chosen: Volume | Snapshot) -> NoSuchCopy:
    """What the user chose has a successor, and some command may be about to delete it."""
    return NoSuchCopy(
        f'drive "{drive.name}" cannot go on from {chosen.id}: it is to be deleted, and a later save has all of it',
        hint=f"xportal drives history {drive.name} shows the saves",
    )


def came_later(drive: Drive, copy: Volume | Snapshot) -> Refused:
    """A copy that was not there when the user gave the drive up."""
    return Refused(
        f'drive "{drive.name}" has {copy.id} by now, which came after you were asked: nothing more is deleted',
        hint=f"xportal drives history {drive.name} shows all that is left",
    )


def gone_on(drive: Drive, chosen: Volume | Snapshot) -> DriveInUse:
    """Somebody else took the lock while a copy was chosen."""
    return DriveInUse(
        f'drive "{drive.name}" was brought up by somebody else while {chosen.id} was chosen: the choice is taken back',
        hint=f"xportal drives history {drive.name} shows where it stands",
    )


def newest_failed(drive: Drive, newest: Snapshot) -> SnapshotFailed:
    """The newest snapshot is in error, or in a state that nothing can be made of."""
    return SnapshotFailed(
        f'the newest snapshot of drive "{drive.name}", {newest.id}, is in state {newest.state}',
        hint=f"xportal drives history {drive.name} shows the others; xportal drives restore {drive.name} ID "
        "goes on from one of them",
    )
