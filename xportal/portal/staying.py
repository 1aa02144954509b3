"""Whether a machine is still there to be worked on, for who saw the end of something on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from xportal.aws.session import Aws
from xportal.errors import MachineLost, Refused, UsageError
from xportal.portal.access import CONNECT_SECONDS, OpenPortal, log_in, look_after
from xportal.portal.agent import AgentStatus, agent_status
from xportal.portal.up.ready import check_ready


def check_stays(aws: Aws, opened: OpenPortal, tell: Callable[[str], None]) -> None:
    """A container that ended may have been ended by its machine's save, and a stream by the machine's end.

    Raises GoingDown with why it saves, Refused in a rehearsal, MachineGone if AWS says so, MachineLost, LoginRefused.
    """
    check_ready(opened.machine, _ask(aws, opened, tell))


@contextmanager
def explained(aws: Aws, opened: OpenPortal, tell: Callable[[str], None]) -> Iterator[None]:
    """A block that works with the machine's Docker: what the machine's end breaks off is told as that, and raised as
    by `check_stays`.
    """
    try:
        yield
    except (BrokenPipeError, Refused, UsageError):  # our own reader's end, and what no machine's end explains
        raise
    except Exception:
        check_stays(aws, opened, tell)
        raise


def _ask(aws: Aws, opened: OpenPortal, tell: Callable[[str], None]) -> AgentStatus:
    """What the agent says, over another connection if the first one broke."""
    try:
        return agent_status(opened.host)
    except MachineLost:
        look = look_after(aws, opened.machine)
        with closing(log_in(aws, opened.machine, seconds=CONNECT_SECONDS, look=look, tell=tell)) as host:
            return agent_status(host)
