"""Eventual consistency: for a while after a change, lists and tags are shown as they were before it.

Each answer is as of another moment, up to `stale_seconds` ago: of two questions one after the other, the second may be
answered with something older. What a call changes, and whether it may, goes by what is so now.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from moto.core.utils import utcnow

from xportal.sandbox.api.ec2.backend import Ec2Backend, all_backends

STALE = frozenset({"DescribeInstances", "DescribeKeyPairs", "DescribeSnapshots", "DescribeTags", "DescribeVolumes"})
FRESH_HEADER = "X-Xportal-Fresh"  # whoever sends it is shown what is so now: to check what others did


@dataclass(frozen=True)
class _View:
    since: datetime
    records: Mapping[str, Any]


@dataclass
class Staleness:
    """How things were, by region. Used under the API's lock."""

    _past: dict[str, deque[_View]] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def note(self, seconds: float) -> None:
        """Remember how things are from now on, for as long as somebody may be shown it. Called after each change."""
        if not seconds:
            self._past.clear()
            return
        for backend in all_backends():
            past = self._past.setdefault(backend.region_name, deque())
            past.append(_View(utcnow(), _frozen(backend)))
            while len(past) > 1 and utcnow() - past[1].since > timedelta(seconds=seconds):
                past.popleft()

    @contextmanager
    def shown(self, operation: str, backend: Ec2Backend, seconds: float, *, fresh: bool) -> Iterator[None]:
        """Within it the region is as it was a moment ago, if the operation lists and is not to be shown what is new."""
        if seconds and backend.region_name not in self._past:
            self.note(seconds)  # what the first change is to be shown late against
        past = self._past.get(backend.region_name)
        if fresh or operation not in STALE or not seconds or not past:
            yield
            return
        lag = timedelta(seconds=self._random.uniform(seconds / 3, seconds))
        then = utcnow() - lag
        records = next((view for view in reversed(past) if view.since <= then), past[0]).records
        real = {name: getattr(backend, name) for name in records}
        for name, items in records.items():
            setattr(backend, name, dict(items))
        backend.snapshots = {key: _late(snapshot, lag) for key, snapshot in records["snapshots"].items()}
        try:
            yield
        finally:
            for name, items in real.items():
                setattr(backend, name, items)


def _frozen(backend: Ec2Backend) -> Mapping[str, Any]:
    """Copies of all that lists read and that changes in place."""
    return {
        "volumes": {key: _volume(volume) for key, volume in backend.volumes.items()},
        "snapshots": {key: copy(snapshot) for key, snapshot in backend.snapshots.items()},
        "key_pairs": dict(backend.key_pairs),
        "reservations": {key: _reservation(reservation) for key, reservation in backend.reservations.items()},
        "tags": {key: dict(told) for key, told in backend.tags.items()},
    }


def _late(snapshot: Any, lag: timedelta) -> Any:
    """A snapshot completes by itself: here so much later."""
    late = copy(snapshot)
    if late.completes_at is not None:
        late.completes_at += lag
    return late


def _volume(volume: Any) -> Any:
    frozen = copy(volume)
    frozen.attachment = copy(volume.attachment)
    return frozen


def _reservation(reservation: Any) -> Any:
    frozen = copy(reservation)
    frozen.instances = [_instance(instance) for instance in reservation.instances]
    return frozen


def _instance(instance: Any) -> Any:
    frozen = copy(instance)
    frozen.block_device_mapping = {device: copy(a) for device, a in instance.block_device_mapping.items()}
    return frozen
