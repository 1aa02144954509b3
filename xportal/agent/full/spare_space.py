"""Some of the drive's space that nobody can use: on a full drive not even Docker starts, and nobody could make room.

A save gives it back for its own notes (`core.final_save`), and the next boot keeps it again.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.files import remove
from .containers import SPARE

BYTES = 32 << 20


def free_bytes(directory: Path) -> int:
    """What root can still write."""
    facts = os.statvfs(directory)
    return facts.f_bfree * facts.f_frsize


def is_full(directory: Path) -> bool:
    """Whether a boot could fail for want of space: ext4 keeps up to 16 MiB of what it calls free to itself."""
    return free_bytes(directory) < BYTES


def keep_reserve(directory: Path) -> None:
    """Set it aside, where half of it stays free. It is never written, so no snapshot has it. Idempotent."""
    path = directory / SPARE
    if path.exists() or free_bytes(directory) < 2 * BYTES:
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, BYTES)
    finally:
        os.close(handle)


def give_reserve(directory: Path) -> bool:
    """Give it back. Returns whether there was one."""
    there = (directory / SPARE).exists()
    remove(directory / SPARE)
    return there
