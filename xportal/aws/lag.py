"""AWS's lists and tags lag behind: what a call has just changed shows in them some seconds later."""

from __future__ import annotations

from collections.abc import Callable

from xportal.aws.records import Instance
from xportal.aws.session import Aws

LAG_SECONDS = 5.0  # the most that is reckoned with: the proof in docs/drive-protocol.md rests on it
SHOWN_SECONDS = 30.0  # in which what was made shows in lists
POLL_SECONDS = 0.5
BOTH_WAYS = 2  # once for others to see what was written here, once for this side to see what they wrote before that


def wait_for_lists(aws: Aws) -> None:
    """Between what a command writes and its last look, so that of two that do this one sees the other."""
    aws.clock.sleep(BOTH_WAYS * LAG_SECONDS)


def wait_for_machine(aws: Aws, machine: Instance) -> None:
    """Until AWS shows everybody that a machine was launched: most are older when they run."""
    age = (aws.now() - machine.launched).total_seconds()  # launches are told to the second
    if age < LAG_SECONDS:
        aws.clock.sleep(min(LAG_SECONDS - age, LAG_SECONDS))


def is_shown(aws: Aws, since: float) -> bool:
    """Whether that time is over for what was written at a moment of its clock."""
    return aws.clock.monotonic() - since >= BOTH_WAYS * LAG_SECONDS


def wait_until_shown(aws: Aws, shown: Callable[[], bool], seconds: float = SHOWN_SECONDS) -> bool:
    """Whether it shows within `seconds`. AWS may list for some seconds without what it has just made: acting on such a
    list would make it twice.
    """
    deadline = aws.clock.monotonic() + seconds
    while not shown():
        if aws.clock.monotonic() >= deadline:
            return False
        aws.clock.sleep(POLL_SECONDS)
    return True
