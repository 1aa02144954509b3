"""The steps of one command, numbered, and the cut at one of them.

A step is one call to AWS or one word to the agent on the machine. Cuts are made in the process that runs the command,
between the SDK and the wire, so that whatever would be retried or undone is.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from tests.crash.answers import make_answer
from xportal.errors import MachineLost, RemoteFailed

KILLED = 128 + signal.SIGKILL


class Cut(Enum):
    """What happens at a step: before its effect, or after it."""

    KILL_BEFORE = "killed before"
    FAIL_BEFORE = "refused"  # a permission is missing: an error that nobody retries
    LOSE_BEFORE = "never arrives"  # at every try
    KILL_AFTER = "killed after"
    FAIL_AFTER = "done, answers 500"  # at every try
    LOSE_AFTER = "done, answer lost"  # once: the SDK's own retry sees what is done

    @property
    def kills(self) -> bool:
        """Whether nothing of the process is left: no undo, no finally."""
        return self in (Cut.KILL_BEFORE, Cut.KILL_AFTER)

    @property
    def after(self) -> bool:
        """Whether the step has its effect."""
        return self in (Cut.KILL_AFTER, Cut.FAIL_AFTER, Cut.LOSE_AFTER)


@dataclass(frozen=True)
class Place:
    """A step by its name: the `nth` call of an operation, from 1 on. Numbers alone would shift as waits do."""

    operation: str
    nth: int

    def __str__(self) -> str:
        return f"{self.operation} {self.nth}"


@dataclass(frozen=True)
class CutAt:
    """One cut of one command."""

    place: Place
    cut: Cut


class Steps:
    """Counts the steps of the process and cuts it at one. `tell` gets each step before it is taken."""

    def __init__(self, tell: Callable[[Place], None], cut_at: CutAt | None) -> None:
        self._tell = tell
        self._cut_at = cut_at
        self._counts: Counter[str] = Counter()
        self._tried: tuple[str, object] | None = None  # the AWS call that was cut: its retries are cut, too
        self._wire = URLLib3Session()

    def _next(self, operation: str) -> Cut | None:
        self._counts[operation] += 1
        place = Place(operation, self._counts[operation])
        self._tell(place)
        return self._cut_at.cut if self._cut_at and self._cut_at.place == place else None

    def before_send(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        """botocore's event before a request is sent: an answer given here is taken for AWS's."""
        call = (event_name.rpartition(".")[2], request.body)
        again = call == self._tried
        self._tried = self._tried if again else None
        cut = self._next(call[0])
        if again and self._cut_at and self._cut_at.cut in (Cut.LOSE_BEFORE, Cut.FAIL_AFTER):
            cut = self._cut_at.cut
        if cut is None:
            return None
        self._tried = call
        if cut.after:
            self._wire.send(request)
        return _struck(cut, request)

    def agent(self, words: Sequence[str], effect: Callable[[], Any]) -> Any:
        """`effect`, one word to the agent; what a broken connection or a failing command would raise."""
        cut = self._next(" ".join(["agent", *words]))
        if cut is None:
            return effect()
        if cut.after:
            effect()
        if cut.kills:
            _die()
        if cut in (Cut.FAIL_BEFORE, Cut.FAIL_AFTER):
            raise RemoteFailed(f"{words[0]} exited with status 1", status=1)
        raise MachineLost("the connection is gone")


def refuse(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Answer in AWS's place that it is not allowed."""
    return _error(request, 403, "UnauthorizedOperation")


def _struck(cut: Cut, request: AWSPreparedRequest) -> AWSResponse:
    if cut.kills:
        _die()
    if cut is Cut.FAIL_BEFORE:
        return refuse(request)
    if cut is Cut.FAIL_AFTER:
        return _error(request, 500, "InternalError")
    raise ConnectionClosedError(endpoint_url=request.url, request=request)


def _error(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    """An error document as EC2 writes it, with the code where JSON services have it."""
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>cut</Message></Error></Errors></Response>".encode()
    return make_answer(request.url, status, {"x-amzn-ErrorType": code}, body)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
