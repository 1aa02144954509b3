"""The lock of a drive: a key pair of the drive's name, whose holder shows now and then that it lives (I3)."""

from __future__ import annotations

from typing import Protocol

from xportal.aws import keys, tags
from xportal.aws.errors import AwsError
from xportal.aws.lag import wait_until_shown
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive.model import lock_name
from xportal.errors import Unreachable

HEARTBEAT_SECONDS = 60.0


class Lock(Protocol):
    """The caller's claim: its launch id, its public login key, and who it is."""

    launch: str
    public_key: bytes
    holder: str


def take_lock(aws: Aws, drive: str, portal: str, lock: Lock) -> None:
    """Import the drive's key pair. A rival that was quicker shows in the next observation."""
    claim = {
        tags.DRIVE: drive,
        tags.PORTAL: portal,
        tags.LAUNCH: lock.launch,
        tags.HOLDER: lock.holder,
        tags.HEARTBEAT: aws.now().isoformat(),
    }
    name = lock_name(drive)
    keys.import_key_pair(aws, name, lock.public_key, claim)
    wait_until_shown(aws, lambda: keys.find_key_pair(aws, name) is not None)


class Heart:
    """Tells the others, while a command that holds locks waits, that their holder lives."""

    def __init__(self, aws: Aws, launch: str) -> None:
        self._aws = aws
        self._launch = launch
        self._last = self._aws.clock.monotonic()

    def beat(self) -> None:
        """Once a minute at most. One that fails is made up for by the next."""
        if self._aws.clock.monotonic() - self._last < HEARTBEAT_SECONDS:
            return
        self._last = self._aws.clock.monotonic()
        try:
            for lock in keys.list_key_pairs(self._aws):  # other drives of the portal may be locked already
                if lock.tags.get(tags.LAUNCH) == self._launch:
                    set_tags(self._aws, lock.id, {tags.HEARTBEAT: self._aws.now().isoformat()})
        except (AwsError, Unreachable):
            return  # a lock that was taken away shows when the holder looks at it after the launch
