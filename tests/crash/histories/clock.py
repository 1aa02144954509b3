"""Virtual time: nothing goes on in the cloud but when somebody asks it something or waits.

Workers and timers of the sandbox's API become work that is due at a moment; `sleep` of the commands, the SDK's retries
and AWS's clock all go by this one clock. So a history takes no longer than its calls, and goes the same way each time.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import botocore.endpoint
import pytest

from xportal.sandbox.api import wsgi
from xportal.sandbox.api.server import Cloud

START = datetime(2030, 1, 1)  # after every image of the catalogue was made
CALL_SECONDS = 1.0  # that one call takes: no two snapshots have one StartTime
WORK_SECONDS = 3.0  # that a machine takes to boot or shut down, a disk to be made


class CtrlC(KeyboardInterrupt):
    """The user of a command pressed it; not the user of this test."""


class Clock:
    """What commands wait by (`xportal.clock.Clock`), the SDK's retries, and the engine's workers and timers."""

    def __init__(self) -> None:
        self._now = START
        self._due: list[tuple[datetime, int, str, Callable[[], object]]] = []
        self._order = itertools.count()
        self.patience = timedelta.max  # how long a command may wait before its user presses Ctrl-C
        self.worked: Callable[[], None] = lambda: None  # called after work that was due

    def utcnow(self) -> datetime:
        """AWS's time, naive, as moto has it."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock started."""
        return (self._now - START).total_seconds()

    time = monotonic

    def http_date(self) -> str:
        """AWS's time as a Date header tells it."""
        return format_datetime(self._now.replace(microsecond=0, tzinfo=timezone.utc), usegmt=True)

    def sleep(self, seconds: float) -> None:
        """What a command does between two looks. Raises CtrlC when its user has waited long enough."""
        self.patience -= timedelta(seconds=seconds)
        if self.patience < timedelta():
            raise CtrlC
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass: do in order what falls due."""
        until = self._now + timedelta(seconds=seconds)
        while self._due and self._due[0][0] <= until:
            due, _, _, work = heapq.heappop(self._due)
            self._now = max(self._now, due)
            work()
            self.worked()
        self._now = until

    @contextmanager
    def at(self, then: datetime) -> Iterator[None]:
        """A block in which it is an earlier moment."""
        now, self._now = self._now, then
        try:
            yield
        finally:
            self._now = now

    def later(self, seconds: float, work: Callable[[], object], key: str = "") -> None:
        """Have `work` done in so many seconds."""
        due = self._now + timedelta(seconds=min(seconds, 1e9))
        heapq.heappush(self._due, (due, next(self._order), key, work))

    def at_once(self, key: str) -> None:
        """Do what is due for this key ever."""
        mine = sorted(entry for entry in self._due if entry[2] == key)
        self._due = [entry for entry in self._due if entry[2] != key]
        heapq.heapify(self._due)
        for _, _, _, work in mine:
            work()

    def forget(self) -> None:
        """Drop what is due."""
        self._due.clear()


@contextmanager
def ticking(cloud: Cloud) -> Iterator[Clock]:
    """Have a started cloud go by a virtual clock, for commands that wait by the same one."""
    clock = Clock()
    engine = cloud._engine

    def submit(key: str, work: Callable[[], Any]) -> Future[Any]:
        clock.later(WORK_SECONDS, work, key)
        return Future()

    def call(key: str, work: Callable[[], Any]) -> Any:
        clock.at_once(key)
        return work()

    def later(seconds: float, work: Callable[[], None]) -> None:
        def changing() -> None:
            with engine.changing():
                work()

        clock.later(seconds, changing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "submit", submit)
        patch.setattr(engine, "call", call)
        patch.setattr(engine, "later", later)
        for name, module in list(sys.modules.items()):
            of_cloud = name.startswith(("xportal.sandbox.api", "moto.ec2"))
            if of_cloud and hasattr(module, "utcnow"):
                patch.setattr(module, "utcnow", clock.utcnow)
        for module in (botocore.endpoint, wsgi):
            patch.setattr(module, "time", clock)
        yield clock
