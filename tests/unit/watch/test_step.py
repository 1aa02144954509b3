"""What a watch does next, row by row: what it sees, and within which limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.portal.endings import BY_ITSELF, BY_SOMEBODY
from xportal.watch.meter import Meter
from xportal.watch.step import ComeBack, End, Leave, Limits, Sight, Step, Wait, next_step

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
METER = Meter(dollars=3.0, hours=5.0, since=NOW)
UP = Instance("i-1", "running", "g4dn.xlarge", "a", NOW, "ami-1", tags={tags.PRICE: "0.5"}, spot=True)
TAKEN = replace(UP, state="terminated", state_reason="Server.SpotInstanceTermination")


def seen(machine: Instance, price: float | None = None) -> Sight:
    """A look at it."""
    return Sight(machine, (), METER, price)


@pytest.mark.parametrize(
    ("sight", "limits", "is_up", "step"),
    [
        pytest.param(seen(UP), Limits(), True, Wait("i-1 runs: $3.00, 5.0 h"), id="runs"),
        pytest.param(seen(UP), Limits(), False, ComeBack(), id="the last up failed"),
        pytest.param(seen(TAKEN), Limits(), True, ComeBack(), id="taken"),
        pytest.param(
            Sight(replace(UP, state="shutting-down"), (), None), Limits(dollars=1), True,
            Wait("i-1 is shutting-down"), id="on its way out",
        ),
        pytest.param(
            seen(replace(TAKEN, state_reason=BY_SOMEBODY)), Limits(), True,
            Leave(f"somebody ended i-1 ({BY_SOMEBODY})", METER), id="somebody ended it",
        ),
        pytest.param(
            seen(replace(TAKEN, state_reason=BY_ITSELF)), Limits(), True,
            End("i-1 has shut itself down, as when it is idle", METER), id="idle",
        ),
        pytest.param(
            seen(replace(UP, tags={**UP.tags, tags.ENDING: "4 hours are over"})), Limits(), True,
            End("4 hours are over", METER), id="a down of a watch broke off",
        ),
        pytest.param(seen(UP), Limits(dollars=3), True, End("the budget of $3 is spent", METER), id="budget"),
        pytest.param(seen(TAKEN), Limits(hours=5), True, End("5 hours are over", METER), id="hours"),
        pytest.param(seen(UP), Limits(dollars=3.01, hours=5.01), True,
                     Wait("i-1 runs: $3.00, 5.0 h"), id="within both"),
        pytest.param(
            seen(replace(UP, tags={})), Limits(dollars=9), True,
            End("the price of i-1, which --budget would count, is not known", METER), id="no price",
        ),
        pytest.param(
            seen(UP, 0.8), Limits(price=0.7), True, End("g4dn.xlarge in a costs $0.8/h now", METER), id="too dear"
        ),
        pytest.param(seen(UP, 0.7), Limits(price=0.7), True, Wait("i-1 runs: $3.00, 5.0 h"), id="at its price"),
    ],
)  # fmt: skip
def test_next_step(sight: Sight, limits: Limits, is_up: bool, step: Step) -> None:
    assert next_step(sight, limits, is_up=is_up) == step
