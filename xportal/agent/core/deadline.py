"""The two minutes: how much of them each step of a save may take."""

from __future__ import annotations

import time
from typing import Optional

# What must be left when the last commit has ended: Docker stops, what is dirty is written, whoever holds the drive
# is told to let go, the snapshot is asked for.
RESERVE = 10 + 5 + 15 + 10
LEAST_GRACE = 2


def left(at: Optional[float]) -> float:
    """Seconds until a time by the machine's monotonic clock; infinite if there is none."""
    return float("inf") if at is None else at - time.monotonic()


def plan_grace(seconds_left: float, asked: int) -> int:
    """How long containers may take after SIGTERM, in whole seconds. Half of what can be had: commits get the rest."""
    return max(LEAST_GRACE, int(min(asked, (seconds_left - RESERVE) / 2)))
