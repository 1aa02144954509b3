"""The power plug: what was not flushed is gone. A mere kill proves nothing, the kernel flushes for the dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path

_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_FITHAW = 0xC0045878


def shut_down_filesystem(device: Path) -> bool:
    """Stop the mounted filesystem of a block device, its journal unflushed. False if it is mounted nowhere.

    A frozen one is thawed as well: it would outlive every mount and keep the device busy.
    """
    root = find_mount(device)
    if root is None:
        return False
    try:
        fcntl.ioctl(root, _FS_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        with contextlib.suppress(OSError):  # EINVAL: not frozen
            fcntl.ioctl(root, _FITHAW, 0)
    finally:
        os.close(root)
    return True


def thaw_orphan(device: Path) -> None:
    """Thaw a frozen filesystem that nobody has mounted any more: mounted once more, it can be reached."""
    with tempfile.TemporaryDirectory(prefix="xportal-thaw-") as place:
        mounted = subprocess.run(["mount", str(device), place], capture_output=True, check=False)
        if mounted.returncode != 0:
            return
        root = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # EINVAL: not frozen
                fcntl.ioctl(root, _FITHAW, 0)
        finally:
            os.close(root)
            subprocess.run(["umount", place], capture_output=True, check=False)


def find_mount(device: Path, *, root: str | None = None) -> int | None:
    """A descriptor on the device's filesystem, in whatever mount namespace it is.

    It may be on a directory that is mounted elsewhere as well, unless `root` says on which.
    """
    number = os.stat(device).st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            lines = (process / "mountinfo").read_text(errors="surrogateescape").splitlines()
        except OSError:  # ended meanwhile
            continue
        for fields in (line.split() for line in lines):
            if fields[2] == wanted and root in (None, fields[3]):
                descriptor = _open_exactly(Path(f"{process}/root{_unescape(fields[4])}"), number)
                if descriptor is not None:
                    return descriptor
    return None


def _open_exactly(path: Path, number: int) -> int | None:
    """Open a mount point, unless something else is mounted over it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(descriptor).st_dev == number:
        return descriptor
    os.close(descriptor)
    return None


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
