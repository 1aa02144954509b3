"""Trying again later, and never all at the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from xportal.aws.errors import is_transient
from xportal.clock import Clock
from xportal.errors import NoCapacity, TooDear, XportalError
from xportal.progress import Progress

FIRST_SECONDS = 15.0
LONGEST_SECONDS = 600.0

T = TypeVar("T")


def pauses(first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> Iterator[float]:
    """Seconds to wait before each next try: doubled each time, give or take a quarter."""
    seconds = first
    while True:
        yield seconds * random.uniform(0.75, 1.25)
        seconds = min(seconds * 2, longest)


def until_capacity(attempt: Callable[[], T], progress: Progress, waits: Iterator[float], clock: Clock) -> T:
    """What `attempt` returns, once AWS has a machine at the price. Nothing is held between tries: no lock, no claim.

    After hours of waiting a network that is gone for a moment is no reason to give up.
    """
    for wait in waits:
        try:
            return attempt()
        except XportalError as error:
            if not isinstance(error, (NoCapacity, TooDear)) and not is_transient(error):
                raise
            progress.say(f"{error.message}; trying again in {wait:.0f} s")
            clock.sleep(wait)  # nobody tells when there is capacity
    raise AssertionError("the waits never end")
