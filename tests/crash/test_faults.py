"""One of five calls to AWS goes wrong, at random: whoever types the command again gets there, and nothing is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash.world import Program, World, new_world, started_program
from xportal.sandbox.api.faults import make_fault

RATE = 0.05  # of each kind, four kinds
KINDS = {"throttle": {}, "error": {}, "lost": {}, "slow": {"seconds": 0.05}}
OTHER_SERVICES = (  # of IAM and Systems Manager; those of EC2 are hit without being named
    "GetParameter",
    "GetInstanceProfile",
    "CreateRole",
    "GetRole",
    "PutRolePolicy",
    "CreateInstanceProfile",
    "AddRoleToInstanceProfile",
)
MOST_TYPED = 6  # times that one command is typed until it goes well
MOST_CALLS = 250  # of one command, the SDK's own retries among them: without faults `up` and `down` make about 60


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program's process."""
    with started_program(tmp_path_factory.mktemp("program")) as program:
        yield program


def trouble(world: World, seed: int) -> None:
    """From now on one of five calls goes wrong."""
    operations: Sequence[str]
    for operations in ((), OTHER_SERVICES):
        for number, (kind, options) in enumerate(KINDS.items()):
            seeded = {"rate": RATE, "seed": 100 * seed + number, "operations": operations}
            world.cloud.faults.add(make_fault(kind, **seeded, **options))


def insist(world: World, *argv: str) -> None:
    """Type a command until it goes well."""
    for _ in range(MOST_TYPED):
        ended = world.type(*argv)
        assert "unexpected" not in ended.said, str(ended)
        assert len(ended.steps) <= MOST_CALLS, f"a storm of {len(ended.steps)} calls: {ended}"
        wrong = world.wrong_at_any_time()
        assert not wrong, f"{wrong} after {ended}"
        if ended.status == 0:
            return
    raise AssertionError("\n".join(map(str, world.typed)))


@pytest.mark.parametrize("seed", [pytest.param(s, marks=[pytest.mark.all] if s > 2 else []) for s in range(1, 26)])
def test_random_faults(program: Program, tmp_path: Path, seed: int) -> None:
    """up, write, down, up, down: all converge, nothing is lost or left, and no command storms AWS."""
    with new_world(tmp_path / "world", program) as world:
        trouble(world, seed)
        insist(world, "up", "demo")
        world.work("written in the first life")
        insist(world, "down", "demo")
        insist(world, "up", "demo")
        assert not world.wrong_when_up()
        world.work("written in the second life")
        insist(world, "down", "demo")
        hits = sum(fault["hits"] for fault in world.cloud.faults.as_json())
        calls = [len(ended.steps) for ended in world.typed]
        line = f"seed {seed}: {len(calls)} commands, {sum(calls)} calls, at most {max(calls)}, {hits} faults"
        sys.stdout.write(f"{line}\n")
        world.cloud.faults.clear()
        world.type_well("sweep")
        assert not [*world.wrong_when_down(), *world.key_files()], "\n".join(map(str, world.typed))
