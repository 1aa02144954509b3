"""The API's one lock, its workers and its timers.

Records are read and changed under `lock`. Hardware I/O is done by workers without
it: first come, first served for each key (an instance or volume id), side by side
between keys.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from xportal.sandbox.hardware import Hardware

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Settings:
    """How long things take, in seconds. Changed at will while the cloud runs; new work follows."""

    snapshot_seconds: float = 1.5
    snapshot_bytes_per_second: float | None = None  # of what changed since the last one, in addition; None: no limit
    snapshot_interval_seconds: float = 0.0  # between two of one volume; AWS wants 15
    invisible_seconds: float = 2.0  # after a launch, the first DescribeInstances by id does not find it
    mapping_seconds: float = 0.2  # a machine that has begun to run shows its first disk alone
    iam_seconds: float = 0.3  # a new role or instance profile is unknown to IAM itself, but for its creation
    profile_seconds: float = 3.0  # a new instance profile, or in the end its role, is unknown to EC2 for so long
    stale_seconds: float = 0.0  # after a change, lists and tags may be shown for so long as they were before it
    shutdown_seconds: float = 60.0  # then a machine's power is cut
    tags_seconds: float = 300.0  # then a terminated instance has lost its tags
    terminated_seconds: float = 600.0  # then a terminated instance is forgotten


class Engine:
    """Runs work for the API; `on_change` is told after every change of records by a worker."""

    def __init__(self, hardware: Hardware, settings: Settings, on_change: Callable[[], None]) -> None:
        self.hardware = hardware
        self.settings = settings
        self.lock = threading.RLock()
        self._on_change = on_change
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="sandbox-api")
        self._queues: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}
        self._queues_lock = threading.Lock()
        self._timers = _Timers()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock while changing records, then have them saved."""
        with self.lock:
            yield
        self._on_change()

    def submit(self, key: str, work: Callable[[], T]) -> Future[T]:
        """Have `work` done after all earlier work of this key. An exception is logged and kept in the future."""
        future: Future[T] = Future()
        with self._queues_lock:
            queue = self._queues.setdefault(key, deque())
            queue.append((future, work))
            if len(queue) == 1:
                self._pool.submit(self._drain, key)
        return future

    def call(self, key: str, work: Callable[[], T]) -> T:
        """Within a request: have `work` done and wait for it, the lock released meanwhile."""
        future = self.submit(key, work)
        with self.unlocked():
            return future.result()

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Release the lock that this thread holds once, for I/O within a request."""
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have `work` done under the lock in so many seconds; dropped by `stop`."""

        def locked() -> None:
            with self.changing():
                work()

        self._timers.add(seconds, locked)

    def stop(self) -> None:
        """Drop the timers and finish the work under way."""
        self._timers.stop()
        self._pool.shutdown(wait=True)

    def _drain(self, key: str) -> None:
        queue = self._queues[key]
        while True:
            future, work = queue[0]
            try:
                future.set_result(work())
            except BaseException as error:
                log.exception("work for %s failed", key)
                future.set_exception(error)
            with self._queues_lock:
                queue.popleft()
                if not queue:
                    del self._queues[key]
                    return


class _Timers:
    """One thread that runs each callable when its time has come."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sandbox-timers", daemon=True)
        self._thread.start()

    def add(self, seconds: float, work: Callable[[], None]) -> None:
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), work))
            self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next callable that is due; None once stopped."""
        with self._wake:
            while not self._stopped:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(left)
        return None

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:
                log.exception("timed work failed")
