"""The claim of an `up` of this computer that was cut off: whoever is here next may go on with it."""

from __future__ import annotations

from xportal.aws import tags
from xportal.drive.model import Drive, LockState
from xportal.machine.access import Claim, find_claim


def earlier_claim(drive: Drive) -> Claim | None:
    """The claim on the drive's lock, if its `up` ended before it got a machine and this computer has its key."""
    if drive.lock is None or drive.lock_state(None) is not LockState.STARTING:
        return None
    return find_claim(drive.lock.tags.get(tags.LAUNCH, ""))
