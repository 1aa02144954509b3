"""Small files that must be whole or absent after a power cut."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file, or a link, atomically and durably, keeping the owner and mode of an existing file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".xportal-new")
    with suppress(FileNotFoundError):
        new.unlink()
    # Others may write to the directory, as containers to the drive's: "x" follows no link that they put there.
    with open(new, "x", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        with suppress(FileNotFoundError):
            old = path.lstat()
            if stat.S_ISREG(old.st_mode):
                os.fchmod(file.fileno(), old.st_mode & 0o777)
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably; it may be absent."""
    if os.path.lexists(path):
        path.unlink()
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object, mode: int = 0o644) -> None:
    """`write_whole`, as JSON."""
    write_whole(path, json.dumps(value, indent=1, sort_keys=True) + "\n", mode)


def read_json(path: Path) -> Any:
    """The value, or None if there is no such file. Raises ValueError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
