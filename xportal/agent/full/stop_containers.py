"""Containers are asked to end: each gets the time that it was made with, as far as the deadline lets it."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any, Callable, Dict, List, Optional

from ..core.deadline import plan_grace
from ..core.save_requests import GRACE
from .docker import Docker

LOOK_SECONDS = 0.5
LONGEST = 600  # for a container that was made to be waited for without end: a save has one
LATE_SECONDS = 2.0  # what Docker may take to kill by itself


def stop_containers(client: Docker, times: Dict[str, int], left: Callable[[], float]) -> Optional[str]:
    """SIGTERM to all at once; SIGKILL to each when its time is over, or when a notice that comes meanwhile says so.

    `times` are seconds, by id. Returns what Docker says went wrong, or None.
    """
    groups: Dict[int, List[str]] = {}
    for id_, seconds in times.items():
        groups.setdefault(seconds, []).append(id_)
    said: List[Optional[str]] = []
    workers = [
        Thread(target=lambda ids, seconds: said.append(client.stop(ids, seconds)), args=(ids, seconds), daemon=True)
        for seconds, ids in groups.items()
    ]
    for worker in workers:
        worker.start()
    longest = max(groups, default=0)
    until = time.monotonic() + longest
    while (alive := [worker for worker in workers if worker.is_alive()]) and time.monotonic() < until + LATE_SECONDS:
        alive[0].join(LOOK_SECONDS)
        until = min(until, time.monotonic() + plan_grace(left(), longest))
    if alive:
        said.append(client.kill([id_ for id_ in client.list_ids(running=True) if id_ in times]))
        for worker in alive:
            worker.join(LATE_SECONDS)
    return "; ".join(filter(None, said)) or None


def patience(info: Dict[str, Any], grace: Optional[int]) -> int:
    """The seconds that a container is to have: `grace`, else its own --stop-timeout, else what all have."""
    own = info["Config"].get("StopTimeout")
    seconds = grace if grace is not None else GRACE if own is None else own
    return LONGEST if seconds < 0 else seconds
