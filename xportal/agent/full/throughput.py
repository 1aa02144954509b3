"""What fits into the time that is left: the user's own command, and commits by what the drive takes by the second."""

from __future__ import annotations

import os
import time
from math import isfinite
from pathlib import Path

from ..core.deadline import RESERVE

MOST_HOOK = 30.0  # seconds
MOST_COMMITS = 10.0  # seconds, of all at a notice: the snapshot waits for them, and the next `up` can make them, too
PROBE = 8 << 20  # bytes
COMMIT_READS_AND_WRITES = 2  # a commit reads the layer and writes it once more
DOUBT = 2.0  # what is estimated may take this many times as long
FASTEST = 100e6  # bytes per second: then the processor's checksums and archives are what takes the time


def plan_hook(seconds_left: float) -> float:
    """How long the user's own command may keep the containers waiting, in seconds."""
    return max(1.0, min(MOST_HOOK, (seconds_left - RESERVE) / 3))


def measure_rate(directory: Path) -> float:
    """The bytes per second that a drive takes now, from a few written to it and removed again."""
    path = directory / "probe"
    began = time.monotonic()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(handle, os.urandom(PROBE))
        os.fsync(handle)
    finally:
        os.close(handle)
        path.unlink()
    return PROBE / (time.monotonic() - began)


def plan_commits(seconds_left: float) -> float:
    """How long all commits may take, in seconds: however large the containers are, the snapshot starts soon."""
    return min(MOST_COMMITS, seconds_left - RESERVE) if isfinite(seconds_left) else seconds_left


def fits(seconds: float, layer_bytes: int, rate: float) -> bool:
    """Whether committing a layer surely ends within `seconds` on a drive that takes `rate` bytes per second."""
    return layer_bytes * COMMIT_READS_AND_WRITES / min(rate, FASTEST) * DOUBT <= seconds
