"""How the two minutes are shared out."""

from __future__ import annotations

import pytest

from xportal.agent.core.deadline import RESERVE, left, plan_grace
from xportal.agent.full.throughput import FASTEST, MOST_COMMITS, fits, plan_commits, plan_hook

MIB = 1 << 20


def test_nobody_hurries_without_a_deadline() -> None:
    """`down` has all the time that it takes."""
    forever = left(None)
    assert plan_grace(forever, 300) == 300
    assert fits(plan_commits(forever), 1 << 50, 1.0)


@pytest.mark.parametrize("seconds", [120.0, 119.2, 60.0, 45.0, 30.0, 5.0, -3.0])
def test_hook_grace_and_commits_leave_enough_for_the_rest(seconds: float) -> None:
    """However little there is: containers are asked, for two seconds, and nothing is committed that may not fit."""
    after_hook = seconds - plan_hook(seconds)
    grace = plan_grace(after_hook, 30)
    assert 2 <= grace <= 30
    if seconds >= RESERVE + 10:
        assert after_hook - grace >= RESERVE
    assert plan_commits(after_hook - grace) <= MOST_COMMITS
    assert after_hook - grace - plan_commits(after_hook - grace) >= RESERVE
    assert not fits(plan_commits(after_hook - grace), 300 * MIB, 125e6)


def test_a_commit_fits_if_reading_and_writing_it_twice_over_does() -> None:
    """128 MiB at 125 MB/s, capped by the processor at 100: 2.7 s, in doubt twice that."""
    needs = 2 * 2 * 128 * MIB / FASTEST
    assert fits(needs + 0.1, 128 * MIB, 125e6)
    assert not fits(needs - 0.1, 128 * MIB, 125e6)
    assert not fits(needs + 0.1, 128 * MIB, 50e6)
