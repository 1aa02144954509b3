"""What is mounted, and getting it unmounted."""

from __future__ import annotations

import errno
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from .events import Log
from .process import AgentError, run, wait_until

UMOUNT_SECONDS = 10.0  # what is dirty was written before
END_SECONDS = 3.0  # that who works on a drive has, before it is killed
FREE_SECONDS = 3.0  # the kernel ends a filesystem a moment after its last mount and process have gone


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo. `device` is "major:minor"."""

    device: str
    point: str
    kind: str
    source: str
    options: str
    follows: bool  # whether an unmount elsewhere takes this mount along

    @property
    def number(self) -> int:
        """The device as a st_dev."""
        major, _, minor = self.device.partition(":")
        return os.makedev(int(major), int(minor))


def parse_mountinfo(text: str) -> List[Mount]:
    """The mounts in /proc/PID/mountinfo, oldest first."""
    mounts = []
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        first, last = fields.split(" "), rest.split(" ")
        follows = any(field.startswith("master:") for field in first[6:])
        mounts.append(Mount(first[2], unescape(first[4]), last[0], unescape(last[1]), last[-1], follows))
    return mounts


def unescape(text: str) -> str:
    r"""Undo mountinfo's octal escapes (\040 is a space)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def list_mounts() -> List[Mount]:
    """This process's mounts, oldest first."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))


def find_mount(point: str) -> Optional[Mount]:
    """What is mounted at exactly this directory (the topmost, if several)."""
    found = [mount for mount in list_mounts() if mount.point == point]
    return found[-1] if found else None


def find_device(device: str) -> Optional[Mount]:
    """The last place where a block device is mounted."""
    number = os.stat(device).st_rdev
    return next((mount for mount in reversed(list_mounts()) if mount.number == number), None)


def plan_unmounts(mounts: List[Mount], device: int) -> List[Mount]:
    """The mounts to undo, in order, so that the filesystem on `device` is mounted nowhere: binds, nested ones."""
    roots = {mount.point for mount in mounts if mount.number == device}
    below = [m for m in mounts if m.point in roots or any(m.point.startswith(root + "/") for root in roots)]
    return below[::-1]


def unmount(device: str, log: Log, release: Callable[[str, Log], Tuple[bool, List[str]]]) -> Tuple[bool, List[str]]:
    """Get a block device's filesystem off this machine: unmount it, or have `release` name and end its holders first.

    Returns whether it is unmounted everywhere, and who was ended.
    """
    return (True, []) if try_unmount(device) else release(device, log)


def try_unmount(device: str) -> bool:
    """Unmount the device wherever it is mounted. False if something holds it: then its other mounts stay."""
    number = os.stat(device).st_rdev
    for mount in plan_unmounts(list_mounts(), number):
        # One unmount may have taken others with it, where mounts are shared.
        if mount in list_mounts() and not take_off(mount, number):
            return False
    return bool(wait_until(lambda: is_free(device), FREE_SECONDS))


def take_off(mount: Mount, device: int) -> bool:
    """Undo one mount. What is somebody else's below the drive's is only taken out of the way, in use or dead."""
    foreign = mount.number != device and mount.kind != "overlay" and not mount.source.startswith("/dev/loop")
    how = "-l"
    try:
        if not run(["umount", mount.point], check=False, timeout=UMOUNT_SECONDS).status:
            return True
    except AgentError:  # a server that does not answer: with -f the kernel ends the calls that wait for it
        how = "-fl"
    return foreign and not run(["umount", how, mount.point], check=False, timeout=UMOUNT_SECONDS).status


def end_logins(device: int) -> List[str]:
    """End the processes that work in the device's filesystem or have a file open there. Returns which."""
    ended: List[str] = []
    for numbers in ((signal.SIGTERM, signal.SIGHUP), (signal.SIGKILL,)):  # a shell at its prompt ignores the first
        for pid in list_at_work(device):
            for number in numbers:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            ended.append(f"process {pid}")
        if wait_until(lambda: not list_at_work(device), END_SECONDS):
            break
    return list(dict.fromkeys(ended))


def list_at_work(device: int) -> List[int]:
    """The ids of those processes."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if any(is_on(link, device) for link in (proc / "cwd", *proc.glob("fd/*"))):
                found.append(int(proc.name))
    return found


def is_on(path: Path, device: int) -> bool:
    """Whether a file that may be gone is on the device's filesystem."""
    try:
        return os.stat(path).st_dev == device
    except OSError:
        return False


def is_free(device: str) -> bool:
    """Whether no filesystem on the device is mounted, in whatever namespace: the kernel itself says so."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True
