"""Lists and tags as AWS shows them: as they were one to three seconds ago, at each call another moment."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.crash.histories.clock import Clock
from tests.crash.histories.wire import Body, Direct

LISTS = {"DescribeInstances", "DescribeKeyPairs", "DescribeSnapshots", "DescribeVolumes"}
LAG_SECONDS = (1.0, 3.0)
Records = Mapping[str, Any]


@dataclass
class View:
    """How things were from a moment on: `facts` tell whether anything has changed since."""

    since: datetime
    facts: object
    records: Records
    answers: dict[object, tuple[int, bytes]] = field(default_factory=dict)


@dataclass
class Lagging:
    """Stands before the API's application. Call `note` after what changes something beside it."""

    wire: Direct
    clock: Clock
    past: deque[View] = field(default_factory=deque)
    random: random.Random = field(default_factory=random.Random)

    def begin(self, seed: int) -> None:
        """Forget everything; the lags of the calls to come go by `seed`."""
        self.past.clear()
        self.random = random.Random(seed)
        self.note()

    def note(self) -> None:
        """Remember how things are now, for as long as somebody may be shown it."""
        now, facts = self.clock.utcnow(), _facts(_backend())
        if not self.past or self.past[-1].facts != facts:
            self.past.append(View(now, facts, _frozen(_backend())))
        while len(self.past) > 1 and now - self.past[1].since > timedelta(seconds=LAG_SECONDS[1]):
            self.past.popleft()

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse:
        """The answer: of a list that of a moment ago."""
        self.note()  # what people and AWS did since the last call
        if _operation(request) in LISTS:
            then = self.clock.utcnow() - timedelta(seconds=self.random.uniform(*LAG_SECONDS))
            return self._answer(request, then)
        answer = self.wire(request)
        self.note()
        return answer

    def _answer(self, request: AWSPreparedRequest, then: datetime) -> AWSResponse:
        """As of a moment; what was answered before is answered again, unless AWS works on a snapshot."""
        view = next((view for view in reversed(self.past) if view.since <= then), self.past[0])
        with self._as_of(then, view.records):
            pending = any(s.status == "pending" for s in view.records["snapshots"].values())
            asked = (request.body, then if pending else None)
            if asked not in view.answers:
                answer = self.wire(request)
                view.answers[asked] = answer.status_code, b"".join(answer.raw.stream())
        status, body = view.answers[asked]
        headers = {"Content-Type": "text/xml", "Date": self.clock.http_date()}
        return AWSResponse(request.url, status, headers, Body(body))

    @contextmanager
    def _as_of(self, then: datetime, shown: Records) -> Iterator[None]:
        backend = _backend()
        real = {name: getattr(backend, name) for name in shown}
        for name, records in shown.items():
            setattr(backend, name, dict(records))
        try:
            with self.clock.at(then):
                yield
        finally:
            for name, records in real.items():
                setattr(backend, name, records)


def _operation(request: AWSPreparedRequest) -> str:
    body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
    return parse_qs(body).get("Action", [""])[0]


def _backend() -> Any:
    return ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]


def _facts(backend: Any) -> object:
    """All that changes."""
    instances = [i for reservation in backend.reservations.values() for i in reservation.instances]
    attachments = [v.attachment for v in backend.volumes.values() if v.attachment]
    return (
        [(v.id, v.state, v.size, id(v.attachment)) for v in backend.volumes.values()],
        [(id(a), a.status, a.delete_on_termination) for a in attachments],
        [(s.id, s.completes_at, s.outcome) for s in backend.snapshots.values()],
        [(i.id, i.state, i.public_ip, list(i.block_device_mapping)) for i in instances],
        [(key.key_name, key.id) for key in backend.key_pairs.values()],
        {resource: dict(told) for resource, told in backend.tags.items()},
    )


def _frozen(backend: Any) -> Records:
    """Copies of all that the lists read and that changes in place."""
    return {
        "volumes": {key: _volume(volume) for key, volume in backend.volumes.items()},
        "snapshots": {key: copy(s) if s.stored else s for key, s in backend.snapshots.items()},
        "key_pairs": dict(backend.key_pairs),
        "reservations": {key: _reservation(reservation) for key, reservation in backend.reservations.items()},
        "tags": {key: dict(told) for key, told in backend.tags.items()},
    }


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
