"""Lists and tags as AWS shows them: as they were one to three seconds ago, at each call another moment."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict, deque
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

from tests.crash.answers import make_answer
from tests.crash.direct import Direct, text_of
from tests.crash.histories.clock import Clock
from xportal.sandbox.api.ec2 import instances

LAG_SECONDS = (1.0, 3.0)
Records = Mapping[str, Any]
Facts = Mapping[str, object]
"""All that can change in the answers of each list, by the operation that asks for it."""


@dataclass
class View:
    """How things were from a moment on; `editions` number, of each list, how it was."""

    since: datetime
    editions: Mapping[str, int]
    records: Records


@dataclass
class Lagging:
    """Stands before the API's application. Call `note` after what changes something beside it."""

    wire: Direct
    clock: Clock
    past: deque[View] = field(default_factory=deque)
    random: random.Random = field(default_factory=random.Random)
    _facts: Facts = field(default_factory=dict)  # of the last view
    _answers: dict[object, tuple[int, bytes]] = field(default_factory=dict)  # by what is asked, and of which edition
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def begin(self, seed: int) -> None:
        """Forget everything; the lags of the calls to come go by `seed`."""
        self.past.clear()
        self._facts = {}
        self._answers.clear()
        self.random = random.Random(seed)
        self.note()

    def note(self) -> None:
        """Remember how things are now, for as long as somebody may be shown it."""
        now, facts = self.clock.utcnow(), _facts(_backend())
        if facts != self._facts:
            before = self.past[-1].editions if self.past else {}
            editions = {
                name: before[name] if known == self._facts.get(name) else next(self._numbers)
                for name, known in facts.items()
            }
            self.past.append(View(now, editions, _frozen(_backend())))
            self._facts = facts
        while len(self.past) > 1 and now - self.past[1].since > timedelta(seconds=LAG_SECONDS[1]):
            self.past.popleft()

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse:
        """The answer: of a list that of a moment ago."""
        self.note()  # what people and AWS did since the last call
        operation = _operation(request)
        if operation in self._facts:
            then = self.clock.utcnow() - timedelta(seconds=self.random.uniform(*LAG_SECONDS))
            return self._answer(request, operation, then)
        answer = self.wire(request)
        self.note()
        return answer

    def _answer(self, request: AWSPreparedRequest, operation: str, then: datetime) -> AWSResponse:
        """As of a moment; what was answered before is answered again, unless AWS works on a snapshot."""
        view = next((view for view in reversed(self.past) if view.since <= then), self.past[0])
        with self._as_of(then, view.records):
            pending = any(s.status == "pending" for s in view.records["snapshots"].values())
            asked = (request.body, view.editions[operation], then if pending and "Snapshots" in operation else None)
            if asked not in self._answers:
                answer = self.wire(request)
                self._answers[asked] = answer.status_code, b"".join(answer.raw.stream())
        status, body = self._answers[asked]
        headers = {"Content-Type": "text/xml", "Date": self.clock.http_date()}
        return make_answer(request.url, status, headers, body)

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
    return parse_qs(text_of(request)).get("Action", [""])[0]


def _backend() -> Any:
    return ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]


def _facts(backend: Any) -> Facts:
    machines = instances.all_instances(backend)
    attached = [
        (v.id, id(v.attachment), v.attachment.status, v.attachment.delete_on_termination)
        for v in backend.volumes.values()
        if v.attachment
    ]
    told: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)  # by the kind of a resource
    for resource, its_tags in backend.tags.items():
        told[resource.partition("-")[0]][resource] = dict(its_tags)
    return {
        "DescribeVolumes": ([(v.id, v.state, v.size) for v in backend.volumes.values()], attached, told["vol"]),
        "DescribeSnapshots": ([(s.id, s.completes_at, s.outcome) for s in backend.snapshots.values()], told["snap"]),
        "DescribeInstances": (
            [(i.id, i.state, i.public_ip, list(i.block_device_mapping)) for i in machines],
            attached,
            told["i"],
        ),
        "DescribeKeyPairs": ([(key.key_name, key.id) for key in backend.key_pairs.values()], told["key"]),
    }


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
