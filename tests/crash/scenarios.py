"""Commands in situations, and what people type next when they were cut there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.crash.world import DRIVE, OLDEST, ONE_DRIVE, World

UP = ("up", DRIVE)
TWO_DRIVES = {"/dev/sdf": "data", "/dev/sdg": "models"}
UP_TWO = (*UP, "--drive", "data", "--drive", "models")
DOWN = ("down", DRIVE)
NO_WAIT = ("down", DRIVE, "--no-wait")
DISCARD = ("down", DRIVE, "--discard", "--yes")
SAVE = ("save", DRIVE)
SWEEP = ("sweep",)
PRUNE = ("drives", "prune", DRIVE, "--keep-last", "1", "--yes")
DELETE = ("drives", "delete", DRIVE, "--yes")
RESTORE = ("drives", "restore", DRIVE, OLDEST)


def _nothing(_: World) -> None: ...


def _at_work(world: World) -> None:
    """A machine is up, and its containers write."""
    world.type_well(*UP, "--size", "1")
    world.work("first")


def _saved(world: World) -> None:
    """One life is over."""
    _at_work(world)
    world.type_well(*DOWN)


def _second_life(world: World) -> None:
    """At work, from a snapshot."""
    _saved(world)
    world.type_well(*UP)
    world.work("second")


def _saved_twice(world: World) -> None:
    """Two lives are over."""
    _second_life(world)
    world.type_well(*DOWN)


def _interrupted(world: World) -> None:
    """AWS took the machine of a second life; the volume is left."""
    _second_life(world)
    world.interrupt()


def _left(world: World) -> None:
    """Snapshots of two lives, and the volume of a third that nobody saved."""
    _saved_twice(world)
    world.type_well(*UP)
    world.work("third")
    world.interrupt()


def _deaf(world: World) -> None:
    """A second life's machine runs and does not answer."""
    _second_life(world)
    world.lose_agents()


def _two_drives(world: World) -> None:
    """A portal with two drives is down."""
    world.type_well(*UP, "--drive", "data:1", "--drive", "models:1")
    world.work("first")
    world.type_well(*DOWN)


def _two_drives_at_work(world: World) -> None:
    """A second life of them."""
    _two_drives(world)
    world.type_well(*UP_TWO)
    world.work("second")


@dataclass(frozen=True)
class Scenario:
    """A command in a situation, and what people type next.

    `changes` takes from the ledger what the command gives up; `drives` are those of the portal, by device.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[World], None]
    nexts: tuple[tuple[str, ...], ...]
    changes: Callable[[World], None] = _nothing
    drives: Mapping[str, str] = field(default_factory=lambda: ONE_DRIVE)


SCENARIOS = (
    Scenario("up, a new drive", (*UP, "--size", "1"), _nothing, (UP, DOWN, SWEEP)),
    Scenario("up, from a snapshot", UP, _saved, (UP, DOWN, SWEEP)),
    Scenario("up, after an interruption", UP, _interrupted, (UP, DOWN, SWEEP)),
    Scenario("save", SAVE, _second_life, (SAVE, DOWN, UP, SWEEP)),
    Scenario("down", DOWN, _second_life, (DOWN, UP, SWEEP)),
    Scenario("down, machine does not answer", DOWN, _deaf, (DOWN, UP, SWEEP)),
    Scenario("down --no-wait", NO_WAIT, _second_life, (SWEEP, UP, DOWN)),
    Scenario("down --discard", DISCARD, _second_life, (DISCARD, DOWN, UP, SWEEP), World.note_discard),
    Scenario("sweep, after an interruption", SWEEP, _interrupted, (SWEEP, UP, DOWN)),
    Scenario("up, two drives", UP_TWO, _two_drives, (UP_TWO, DOWN, SWEEP), drives=TWO_DRIVES),
    Scenario("down, two drives", DOWN, _two_drives_at_work, (DOWN, UP_TWO, SWEEP), drives=TWO_DRIVES),
    Scenario("drives restore", RESTORE, _saved_twice, (RESTORE, UP, SWEEP), World.note_restore),
    Scenario("drives prune", PRUNE, _saved_twice, (PRUNE, UP, DOWN, SWEEP)),
    Scenario("drives delete", DELETE, _left, (DELETE, UP, DOWN, SWEEP), World.note_delete),
)
