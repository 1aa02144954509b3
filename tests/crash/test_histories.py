"""Whatever happens to a drive, in any order, nothing that was acknowledged is lost.

XPORTAL_HISTORIES=full runs 20,000 steps of new histories, and prints the seed that makes the same ones again:
XPORTAL_HISTORIES=SEED.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.crash.histories.ledger import Violation
from tests.crash.histories.planted import PLANTED
from tests.crash.histories.rules import Histories
from tests.crash.histories.world import World, open_world

ASKED = os.environ.get("XPORTAL_HISTORIES", "")
SEED = 20260101
ROUND = settings(
    database=None,
    deadline=None,
    max_examples=10,
    phases=[Phase.generate],  # a failure tells its story by itself; to shrink it takes minutes
    print_blob=False,
    report_multiple_bugs=False,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One cloud for all histories."""
    with open_world(tmp_path_factory.mktemp("histories")) as opened:
        Histories.world = opened
        yield opened


def run(steps: int, seed: int) -> None:
    """Histories of at least so many steps in all, in rounds. Raises what was found."""
    Histories.steps = 0
    while Histories.steps < steps:
        hypothesis.seed(seed)(Histories)
        run_state_machine_as_test(Histories, settings=ROUND)
        seed += 1


@pytest.mark.timeout(7200)
def test_histories(world: World) -> None:
    """A fixed sample, or 20,000 steps."""
    seed = secrets.randbelow(2**32) if ASKED == "full" else int(ASKED or SEED)
    sys.stdout.write(f"\nseed {seed}: ")
    run(20_000 if ASKED else 2_000, seed)
    sys.stdout.write(f"{Histories.steps} steps\n")


@pytest.mark.all
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug(world: World, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these bugs is found."""
    PLANTED[bug](monkeypatch)
    with pytest.raises(Violation) as found:
        run(3_000, SEED)
    sys.stdout.write(f"\n{bug}: {str(found.value).splitlines()[0]}\n")
