"""Time, as commands wait in it: this computer's, or a test's."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that pass and can be waited for."""

    def monotonic(self) -> float:
        """Seconds since some moment: only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class SystemClock:
    """This computer's clock. While the computer sleeps it stands still, as the kernel's monotonic clock does."""

    def monotonic(self) -> float:
        """Seconds by time.monotonic."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """time.sleep."""
        time.sleep(seconds)


class FastClock:
    """A clock for tests, before a cloud that answers sooner than AWS: in one second `speed` of its seconds pass."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def monotonic(self) -> float:
        """Its seconds, since some moment."""
        return time.monotonic() * self._speed

    def sleep(self, seconds: float) -> None:
        """Until so many of its seconds have passed."""
        time.sleep(seconds / self._speed)


SYSTEM = SystemClock()
