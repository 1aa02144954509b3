"""Commands cut in the middle: a sample of what `python -m tests.crash.cuts` does at every step of every scenario."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.cuts import make_situation, run, trials_of
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.steps import Cut
from tests.crash.world import LAPTOP, Program, new_world, started_program

SAMPLE = 2  # cuts of each scenario


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program's process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with started_program(tmp_path_factory.mktemp("program")) as program:
        yield program


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_cuts(scenario: Scenario, program: Program, tmp_path: Path) -> None:
    """Cut where it changes something, the next command loses nothing and leaves nothing."""
    situation = make_situation(scenario, tmp_path / "before", program)
    trials = [trial for trial in trials_of(situation) if trial.changes_something]
    first = SCENARIOS.index(scenario)
    for number in range(SAMPLE):
        trial = trials[(first + number * len(trials) // SAMPLE) % len(trials)]
        outcome = run(trial, situation, tmp_path / str(number))
        assert outcome.reached, trial
        assert not outcome.wrong, f"{trial}\n{outcome.story}"


def test_a_kill_undoes_nothing(program: Program, tmp_path: Path) -> None:
    """A process that is killed right after its lock leaves it: the harness does not spare the program."""
    scenario = SCENARIOS[0]
    situation = make_situation(scenario, tmp_path / "before", program)
    kills = (t for t in trials_of(situation) if t.cut_at.cut is Cut.KILL_AFTER and "ImportKeyPair" in str(t))
    with situation.world(tmp_path / "world") as world:
        assert world.type(*scenario.argv, cut_at=next(kills).cut_at).status is None
        assert len(world.claims()) == 1
        assert len(world.key_files()) == 1


def test_unused_keys_are_forgotten(program: Program, tmp_path: Path) -> None:
    """A login key that nobody used for a month goes with the next sweep, a younger one and one in use stay."""
    with new_world(tmp_path / "world", program) as world:
        world.type_well("up", "demo")
        [launch] = world.key_files()
        stray = tmp_path / "world" / LAPTOP / "state" / "xportal" / "stray.key"
        stray.touch()
        world.type_well("sweep")
        assert world.key_files() == {launch, "stray"}
        world.month_passes()
        world.type_well("up", "demo")  # which logs in with its key
        world.type_well("sweep")
        assert world.key_files() == {launch}
        os.utime(stray.with_name(f"{launch}.key"), (0, 0))
        world.type_well("down", "demo")
        assert not world.key_files()
