"""A computer on which somebody types xportal's commands. It can be cut off, and the net fail it, at any AWS call."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from tests.crash.answers import make_answer
from tests.crash.direct import text_of
from tests.crash.histories.clock import CALL_SECONDS, Clock, CtrlC
from tests.user import make_session
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.observe import observe
from xportal.drive.snapshots import Agent
from xportal.errors import MachineLost
from xportal.portal.down import down, sweep
from xportal.portal.restore import restore
from xportal.portal.save import save
from xportal.portal.up import find_or_launch
from xportal.spec import MachineSpec, PortalSpec

BUSY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>RequestLimitExceeded</Code>'
    b"<Message>Request limit exceeded.</Message></Error></Errors><RequestID>1</RequestID></Response>"
)
PATIENCE_SECONDS = 120.0  # that a user waits for a command that only waits


class KilledError(BaseException):
    """The process is gone: no `except Exception` sees it, and every later call meets it again."""


@dataclass
class Trouble:
    """What happens at one step of a command: an AWS call, or a call of the agent.

    `at` is the step's number, counted from 1, or the name of the operation (`Agent` for the agent) that is the step.
    """

    at: int | str
    how: str  # kill, kill-after, ctrl-c, busy, lost, meanwhile, or each: `meanwhile` comes before every step
    times: int = 1  # that it happens in a row
    meanwhile: Callable[[], None] | None = None

    def hits(self, number: int, operation: str) -> bool:
        """Whether this step is the one, or one of those right after."""
        if self.how == "each":
            return True
        if self.at == operation:
            self.at = number
        return isinstance(self.at, int) and self.at <= number < self.at + self.times


Wire = Callable[[AWSPreparedRequest], AWSResponse]
"""How a request gets to the API and its answer back."""

Watch = Callable[["Laptop", str, dict[str, str]], None]
"""Told of every call that reaches AWS: whose, the operation, and its parameters as they are sent."""


@dataclass
class Laptop:
    """A home directory and an AWS session."""

    name: str
    clock: Clock
    wire: Wire
    watch: Watch
    agents: Callable[[Laptop], Agent]  # how it speaks to the agents on machines
    wait_ready: Callable[[Instance], None]
    trouble: Trouble | None = None
    calls: int = 0  # of the command under way
    call: str = ""  # the one that is about to be made: its operation
    raced_at: int | None = None  # the call before which another laptop had its way
    gives_up: tuple[str, int] | None = None  # the volume that its user discards, and in which of its lives
    dead: bool = False
    lines: list[str] = field(default_factory=list)
    home: Path = Path()  # a new one for every history

    def __post_init__(self) -> None:
        self._aws = _WatchedAws(self)
        self._aws.once  # noqa: B018  made here, and not once more in every fork of this process
        self._agent = self.agents(self)

    # The story of a command

    def say(self, text: str) -> None:
        """Remember."""
        self.lines.append(text)

    warn = update = say

    # Commands

    def up(self, drive: str) -> Instance:
        """`xportal up DRIVE`; the machine that it says is ready."""
        spec = PortalSpec(drive, MachineSpec(gpu=False, types=("t3.medium",)))
        machine: Instance
        machine, _ = self._command(lambda: find_or_launch(self._aws, spec, self, self._agent))
        self.wait_ready(machine)
        return machine

    def save(self, drive: str, *, wait: bool = True) -> None:
        """`xportal save DRIVE`."""
        self._command(lambda: save(self._aws, drive, self, self._agent, wait=wait))

    def down(self, drive: str, **how: bool) -> None:
        """`xportal down DRIVE`, with `wait` False and `discard` as its options."""
        seen = {drive: self._look(drive)} if how.get("discard") else None
        self._command(lambda: down(self._aws, drive, self, self._agent, seen=seen, **how))

    def _look(self, drive: str) -> frozenset[str]:
        """What the user is asked about, in the moment of the answer."""
        trouble, self.trouble = self.trouble, None
        try:
            return observe(self._aws, drive).there()
        finally:
            self.trouble = trouble

    def restore(self, drive: str, copy_id: str) -> None:
        """`xportal drives restore DRIVE ID`."""
        self._command(lambda: restore(self._aws, drive, copy_id, self))

    def sweep(self) -> None:
        """`xportal sweep`; raises the first of its errors."""
        errors = self._command(lambda: sweep(self._aws, self, self._agent)).errors
        if errors:
            raise errors[0]

    def _command(self, work: Callable[[], Any]) -> Any:
        """Run a command in this laptop's home; what its process held is let go at its end, however it ended."""
        self.calls, self.dead, self.raced_at = 0, False, None
        before = self.clock.patience
        self.clock.patience = timedelta(seconds=PATIENCE_SECONDS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(self.home))
            try:
                return work()
            finally:
                self.clock.patience = before
                self.trouble = None
                if self.dead:
                    self._drop_files()

    def _drop_files(self) -> None:
        """The kernel closes a killed process's files, and with them its claims."""
        for descriptor in os.listdir("/proc/self/fd"):
            link = Path("/proc/self/fd", descriptor)
            if link.is_symlink() and str(link.readlink()).startswith(str(self.home)):
                os.close(int(descriptor))

    # Its net

    def before_send(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        """Botocore's hook."""
        operation = event_name.rpartition(".")[2]
        how = self._step(operation)
        if how == "busy":
            return make_answer(request.url, 503, {"Content-Type": "text/xml"}, BUSY)
        self.watch(self, operation, dict(parse_qsl(text_of(request))))
        answer = self.wire(request)
        if how == "lost":
            raise ConnectionClosedError(endpoint_url=request.url)
        self.die_if(how == "kill-after")
        return answer

    def ask_agent(self, work: Callable[[], None]) -> None:
        """A step that is no AWS call; `lost` and `busy` make ssh fail."""
        how = self._step("Agent")
        if how == "busy":
            raise MachineLost("ssh fails")
        work()
        self.die_if(how == "kill-after")
        if how == "lost":
            raise MachineLost("ssh failed")
        self.raced_at = None

    def _step(self, operation: str) -> str:
        """Count it, and let happen what happens before it; what is to happen with it."""
        self.die_if(self.dead)
        self.clock.advance(CALL_SECONDS)
        self.calls, self.call = self.calls + 1, operation
        trouble = self.trouble
        if trouble is None or not trouble.hits(self.calls, operation):
            return ""
        if trouble.meanwhile:
            self.trouble = trouble if trouble.how == "each" else None
            trouble.meanwhile()
            self.raced_at = self.calls
        self.die_if(trouble.how == "kill")
        if trouble.how == "ctrl-c":
            raise CtrlC
        return trouble.how

    def die_if(self, killed: bool) -> None:
        """The process ends here, and nothing of it goes on."""
        if killed:
            self.dead = True
            raise KilledError


class _WatchedAws(Aws):
    """A session whose every request its laptop sees first."""

    def __init__(self, laptop: Laptop) -> None:
        self.laptop = laptop
        super().__init__(make_session(), "us-east-1", clock=laptop.clock)

    def _client(self, service: str, config: Config) -> Any:
        client = super()._client(service, config)
        client.meta.events.register("before-send", self.laptop.before_send)
        return client
