"""The saves on a portal's machine, as the drive's lifecycle calls for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.errors import KeyRefused, LocalFileError, MachineLost
from xportal.portal import agent
from xportal.portal.access import log_in, look_after
from xportal.progress import Progress
from xportal.remote import Host

CONNECT_SECONDS = 60.0


@dataclass(frozen=True)
class RemoteAgent:
    """The agent, through ssh, by `enter`. `grace` in seconds is what containers get after SIGTERM; None: the agent's
    default. The machine has `patience` seconds to let us in.
    """

    aws: Aws
    progress: Progress
    grace: float | None = None
    enter: Callable[..., Host] = log_in
    patience: float = CONNECT_SECONDS

    def save(self, machine: Instance, volume: Volume) -> None:
        """A final save: stop, commit, unmount. Raises MachineLost, SaveIncomplete.

        A machine that lets nobody in, or for which this computer can keep no key, is one that does not answer: it may
        be well, and then its shutdown saves.
        """
        self.progress.update(f"saving {volume.id} on {machine.id}")
        try:
            agent.final_save(lambda: self._log_in(machine), self.progress.say, self.progress.warn, grace=self.grace)
        except (KeyRefused, LocalFileError) as error:
            raise MachineLost(error.message) from error

    @contextmanager
    def frozen(self, machine: Instance, volume: Volume) -> Iterator[None]:
        """Nothing is written to the machine's drives meanwhile. Raises MachineLost, SaveIncomplete."""
        self.progress.update(f"freezing {volume.id} on {machine.id}")
        with agent.frozen(lambda: self._log_in(machine), self.progress):
            yield

    def _log_in(self, machine: Instance) -> Host:
        look = look_after(self.aws, machine)
        return self.enter(self.aws, machine, seconds=self.patience, look=look, tell=self.progress.update)
