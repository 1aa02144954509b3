"""Files that hold secrets or decide what root does: owned by the user whose process reads them, written by nobody else.

The daemon is root. Whoever could write its state could have it mount, unmount, kill and delete in root's name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from xportal.errors import Refused

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_private(directory: Path) -> None:
    """Refused unless the directory and what is directly in it belong to this process's user, and nobody else may write.

    A directory that does not exist is private: it will be made so.
    """
    try:
        if directory.exists():
            _check(directory)
    except PermissionError as error:
        raise Refused(f"{error.filename} is closed to this user", hint=_AS_ITS_USER) from error


def _check(directory: Path) -> None:
    for parent in directory.resolve().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:  # anybody could put another directory in its place
            raise Refused(f"everybody may write in {parent}, so the sandbox is not safe in it", hint=_ELSEWHERE)
    for path, found in _directory_and_entries(directory):
        if found.st_uid != os.geteuid():
            raise Refused(
                f"{path} belongs to user {found.st_uid}, and this is user {os.geteuid()}",
                hint=_AS_ITS_USER,
            )
        if found.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(found.st_mode):
            raise Refused(f"others may write to {path}: what is in it is not to be trusted", hint=f"chmod go-w {path}")


def _directory_and_entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The directory before its entries: only its owner may read them."""
    yield directory, directory.stat()
    for entry in sorted(directory.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # a file that was just replaced
            yield entry, entry.lstat()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file as a whole; only its owner may read and write it. On the disk when this returns."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a process that died; and never another's file or link
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


_AS_ITS_USER = "use the sandbox as the user that started it (sudo -E xportal sandbox ...)"
_ELSEWHERE = "XPORTAL_SANDBOX_HOME names another directory"
