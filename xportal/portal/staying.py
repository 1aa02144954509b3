"""Whether a machine is still there to be worked on, for who saw the end of something on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from xportal.errors import MachineLost, Refused, UsageError
from xportal.portal.access import OpenPortal
from xportal.portal.agent import AgentStatus, agent_status
from xportal.portal.up.ready import check_ready


def check_stays(opened: OpenPortal) -> None:
    """A container that ended may have been ended by its machine's save, and a stream by the machine's end.

    Raises GoingDown with why it saves, Refused in a rehearsal, MachineGone if AWS says so, MachineLost, LoginRefused.
    """
    check_ready(opened.machine, _ask(opened))


@contextmanager
def explained(opened: OpenPortal) -> Iterator[None]:
    """A block that works with the machine's Docker: what the machine's end breaks off is told as that, and raised as
    by `check_stays`.
    """
    try:
        yield
    except (BrokenPipeError, Refused, UsageError):  # our own reader's end, and what no machine's end explains
        raise
    except Exception:
        check_stays(opened)
        raise


def _ask(opened: OpenPortal) -> AgentStatus:
    """What the agent says, over another connection if the first one broke."""
    try:
        return agent_status(opened.host)
    except MachineLost:
        with closing(opened.reconnect()) as host:
            return agent_status(host)
