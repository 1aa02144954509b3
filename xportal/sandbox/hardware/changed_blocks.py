"""What the filesystem knows of a file's extents."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_FS_IOC_FIEMAP = 0xC020660B
_HEADER = struct.Struct("=QQLLLL")  # start, length, flags, extents told, room for extents, reserved
_EXTENT = struct.Struct("=QQQQQLLLL")  # logical, physical, length, 2 reserved, flags, 3 reserved
_AT_A_TIME = 1000
_SYNC = 0x1  # what is still to be allocated is, before it is told
_LAST, _UNWRITTEN, _SHARED = 0x1, 0x800, 0x2000


def count_unshared(path: Path) -> int:
    """Bytes of data in a file that no other file shares with it. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return sum(length for length, flags in _extents(descriptor) if not flags & (_UNWRITTEN | _SHARED))
    finally:
        os.close(descriptor)


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Length and flags of each."""
    start, flags = 0, 0
    while not flags & _LAST:
        answer = bytearray(_HEADER.size + _AT_A_TIME * _EXTENT.size)
        _HEADER.pack_into(answer, 0, start, 2**64 - 1 - start, _SYNC, 0, _AT_A_TIME, 0)
        fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, answer)
        told = _HEADER.unpack_from(answer)[3]
        if not told:
            return
        for number in range(told):
            logical, _, length, _, _, flags, *_ = _EXTENT.unpack_from(answer, _HEADER.size + number * _EXTENT.size)
            yield length, flags
            start = logical + length
