"""Several computers bring one drive up at the same moment: one wins, the others are told who, nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.crash.steps import Cut, CutAt, Place
from tests.crash.world import LAPTOP, Ended, Program, World, new_world, started_program
from xportal.sandbox.api.faults import make_fault

HOMES = ("ann", "bob", "cleo", "dan")
LAUNCH_SECONDS = 0.5  # between lock and launch, so that all others come while there is no machine yet


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program's process."""
    with started_program(tmp_path_factory.mktemp("program")) as program:
        yield program


@pytest.fixture
def world(program: Program, tmp_path: Path) -> Iterator[World]:
    """An empty account in which a winner takes its time."""
    with new_world(tmp_path / "world", program) as world:
        world.cloud.faults.add(make_fault("slow", operations=["CreateSecurityGroup"], seconds=LAUNCH_SECONDS))
        yield world


def race(world: World, homes: tuple[str, ...]) -> str:
    """Every home's `up` at the same moment; who won. One machine comes of it, with all that was written."""
    start = Barrier(len(homes))

    def up(home: str) -> Ended:
        start.wait()
        return world.type("up", "demo", home=home)

    with ThreadPoolExecutor(len(homes)) as threads:
        ended = dict(zip(homes, threads.map(up, homes), strict=True))
    story = "\n".join(map(str, ended.values()))
    winners = [home for home in homes if ended[home].status == 0]
    assert len(winners) == 1, story
    for home in set(homes) - set(winners):
        assert ended[home].status == 3, story
        assert f"is being brought up by {winners[0]}@" in ended[home].said, story
    assert not world.wrong_when_up(), story
    return winners[0]


def end(world: World, winner: str) -> None:
    """The winner's machine works, and the drive is brought down."""
    world.work(f"record {len(world.finals())}")
    world.type_well("down", "demo", home=winner)
    assert not world.wrong_when_down()


@pytest.mark.parametrize(
    ("homes", "times"),
    [
        pytest.param(HOMES[:2], 3, id="two"),
        pytest.param(HOMES, 2, id="four"),
        pytest.param(HOMES[:2], 50, id="two, 50 times", marks=pytest.mark.all),
        pytest.param(HOMES, 20, id="four, 20 times", marks=pytest.mark.all),
    ],
)
def test_one_wins(world: World, homes: tuple[str, ...], times: int) -> None:
    """Of several `up`s one gets the lock, the others exit 3 and name its holder; no key stays with a loser."""
    for _ in range(times):
        winner = race(world, homes)
        assert len(world.key_files()) == 1
        end(world, winner)
        assert not world.key_files()


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.all)])
def test_the_lock_of_a_killed_winner(world: World, times: int) -> None:
    """It is taken over by exactly one of several, once it is old, and by nobody before."""
    for _ in range(times):
        killed = CutAt(Place("ImportKeyPair", 1), Cut.KILL_AFTER)
        assert world.type("up", "demo", home=LAPTOP, cut_at=killed).status is None
        early = world.type("up", "demo", home=HOMES[0])
        assert early.status == 3
        assert f"is being brought up by {LAPTOP}@" in early.said
        world.ten_minutes_pass()
        end(world, race(world, HOMES))
