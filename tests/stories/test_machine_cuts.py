"""Machines cut in the middle: a sample of what `python -m tests.stories.machine_cuts` does at every line of a phase."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stories.conftest import User
from tests.stories.long_lived import begun_portal
from tests.stories.machine_cuts import Kind, Lives, Phase, Trial

pytestmark = pytest.mark.machine

# The quick ones: each is a life or two.
SAMPLE = [
    Trial(Phase.RUN, 2, Kind.KILL),
    Trial(Phase.RUN, 1, Kind.NETWORK),
    Trial(Phase.OPEN, 3, Kind.KILL),
    Trial(Phase.NOTICE, 3, Kind.POWER),
    Trial(Phase.RESTORE, 2, Kind.KILL),
    Trial(Phase.NOTICE, 11, Kind.KILL),
    Trial(Phase.NOTICE, 9, Kind.NETWORK),
    Trial(Phase.RUN, 1, Kind.POWER),
    Trial(Phase.FINAL, 8, Kind.POWER),
    Trial(Phase.OPEN, 4, Kind.NETWORK),
    Trial(Phase.NOTICE, 11, Kind.POWER),
    Trial(Phase.RUN, 3, Kind.POWER),
]


@pytest.fixture(scope="module")
def lives(user: User) -> Iterator[Lives]:
    """A portal that lives through all of it; in the end it goes down, and nothing is left."""
    with begun_portal(user) as portal:
        yield Lives(portal)
        assert not portal.finish()


@pytest.mark.parametrize("trial", SAMPLE, ids=str)
def test_cut(lives: Lives, trial: Trial) -> None:
    """What was acknowledged is there after the next `up`, in order, and the container writes on."""
    outcome = lives.run(trial)
    assert outcome.at, f"the line never came: {outcome}"
    assert outcome.is_fine, str(outcome)


def test_power_cuts_lose_what_was_not_flushed(lives: Lives) -> None:
    """Without that they would prove nothing."""
    assert lives.portal.ledger.seen_lost
