"""The claim on a drive's lock: one that was cut off, and how it is given up."""

from __future__ import annotations

from xportal.aws import compute, keys, tags
from xportal.aws.session import Aws
from xportal.drive.model import Drive, LockState, lock_name
from xportal.machine.access import Claim, find_claim, forget_login_key
from xportal.portal.prices import machine_cost
from xportal.progress import Progress


def earlier_claim(drive: Drive) -> Claim | None:
    """The claim on the drive's lock, if its holder ended before it got a machine and this computer has its key.

    Whoever is here next goes on with it.
    """
    if drive.lock is None or drive.lock_state(None) is not LockState.STARTING:
        return None
    return find_claim(drive.lock.tags.get(tags.LAUNCH, ""))


def give_up(aws: Aws, drive: str, claim: Claim, progress: Progress) -> None:
    """I6: after a failure neither lock nor key stays behind, unless a machine of this launch may live."""
    claim.release()
    live = [m for m in compute.list_instances(aws, tags.tag_filter(launch=claim.launch)) if m.state != "terminated"]
    for machine in live:
        progress.warn(f"{machine_cost(machine)} is there and billed: xportal up goes on with it, xportal down ends it")
    if claim.in_doubt or live:
        return  # the lock stays: with its machine, or until its heartbeat is old
    lock = keys.find_key_pair(aws, lock_name(drive))
    if lock and lock.tags.get(tags.LAUNCH) == claim.launch:
        keys.delete_key_pair(aws, lock.id)
    forget_login_key(claim.launch)
