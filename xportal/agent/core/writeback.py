"""What waits in memory to be written to the drives: bounded, so that a save need not write out half the memory."""

from __future__ import annotations

import os
from pathlib import Path

BOUND = 256 << 20  # two seconds of a plain gp3 volume


def bound_dirty(device: str, root: Path = Path("/")) -> str:
    """Bound what waits for a block device, or, where the kernel (before 6.2) cannot, for all. Says what came of it."""
    number = os.stat(device).st_rdev
    bdi = root / f"sys/class/bdi/{os.major(number)}:{os.minor(number)}"
    try:
        if (bdi / "max_bytes").exists():
            (bdi / "strict_limit").write_text("1")
            (bdi / "max_bytes").write_text(str(BOUND))
            return f"At most {BOUND >> 20} MiB wait in memory for {device}"
        vm = root / "proc/sys/vm"
        (vm / "dirty_background_bytes").write_text(str(BOUND // 2))
        (vm / "dirty_bytes").write_text(str(BOUND))
    except OSError as error:
        return f"What waits in memory for {device} cannot be bounded: {error}"
    return f"At most {BOUND >> 20} MiB wait in memory for all disks"
