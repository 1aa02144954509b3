"""Lives of a drive while AWS shows everything late: a sample; XPORTAL_TEST_STALE_SECONDS has all cuts made so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import DESK, Program, new_world, started_program

SECONDS = 3.0  # of AWS's time


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program's process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with started_program(tmp_path_factory.mktemp("program")) as program:
        yield program


def test_two_lives_and_an_interruption_lose_and_leave_nothing(program: Program, tmp_path: Path) -> None:
    """Up, work, down; up on another computer, taken away; up and down again."""
    with new_world(tmp_path / "world", program, stale_seconds=SECONDS) as world:
        world.type_well("up", "demo", "--size", "1")
        world.work("first")
        world.type_well("down", "demo")
        assert world.wrong_when_down() == []
        world.type_well("up", "demo", home=DESK)
        world.work("second")
        world.interrupt()
        world.type_well("up", "demo")
        assert world.wrong_when_up() == []
        world.work("third")
        world.type_well("down", "demo")
        assert world.wrong_when_down() == []
