"""The saves on a portal's machine, as the drive's lifecycle calls for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.drive.lifecycle import Story
from xportal.portal import agent
from xportal.portal.access import login_for, look_after
from xportal.remote import Host, connect

CONNECT_SECONDS = 60.0


@dataclass(frozen=True)
class RemoteAgent:
    """The agent, through ssh. `grace` in seconds is what containers get after SIGTERM; None: the agent's default."""

    aws: Aws
    story: Story
    grace: float | None = None

    def save(self, machine: Instance, volume: Volume) -> None:
        """A final save: stop, commit, unmount. Raises MachineLost, SaveIncomplete."""
        self.story.update(f"saving {volume.id} on {machine.id}")
        agent.final_save(lambda: self._log_in(machine), self.story.say, grace=self.grace)

    @contextmanager
    def frozen(self, machine: Instance, volume: Volume) -> Iterator[None]:
        """Nothing is written to the machine's drives meanwhile. Raises MachineLost, SaveIncomplete."""
        self.story.update(f"freezing {volume.id} on {machine.id}")
        with agent.frozen(lambda: self._log_in(machine), self.story):
            yield

    def _log_in(self, machine: Instance) -> Host:
        deadline = time.monotonic() + CONNECT_SECONDS
        return connect(login_for(self.aws, machine), deadline=deadline, look=look_after(self.aws, machine))
