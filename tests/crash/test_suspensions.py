"""A command that sleeps between its look and its act loses nothing, whatever happens meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.crash.histories.planted_lives import PLANTED
from tests.crash.histories.world import World, open_world
from tests.crash.suspensions import Outcome, play_all, summary

SAMPLE = 64  # of so many suspensions one is part of `make test`


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cloud whose lists lag."""
    with open_world(tmp_path_factory.mktemp("suspensions"), lagging=True) as opened:
        yield opened


def told(outcomes: list[Outcome]) -> str:
    """What was found."""
    return "\n".join(str(outcome) for outcome in outcomes if outcome.wrong)


@pytest.mark.parametrize("every", [SAMPLE, pytest.param(1, marks=(pytest.mark.all, pytest.mark.timeout(30_000)))])
def test_suspensions(world: World, every: int) -> None:
    """Each command, suspended before each of its calls while whole stories happen: no loss, no leak."""
    outcomes = [outcome for played in play_all(world, every=every) for outcome in played]
    sys.stdout.write(f"\n{summary(outcomes)}\n")
    assert outcomes
    assert not told(outcomes)


@pytest.mark.all
@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug(world: World, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these bugs is found."""
    plant, scenario = PLANTED[bug]
    plant(monkeypatch)
    outcomes = [outcome for played in play_all(world, [scenario], stops=True) for outcome in played]
    found = [outcome for outcome in outcomes if outcome.wrong]
    assert found
    sys.stdout.write(f"\n{bug}: {found[0].trial}: {found[0].wrong[0]}\n")
