"""Every command cut at every step, and the ordinary next command.

`python -m tests.crash.cuts [--changing] [SCENARIO...]`; `--changing`: only at steps that change something.

A scenario is a command in a situation. It is run once to learn its steps. Then, in a new world each time, it is cut at
one of them in one way; containers go on writing where a machine goes on; somebody types the next command, on the same
computer or on another one; and in the end the drive is brought down. Prints one line a scenario: cuts, losses, leaks.
"""

from __future__ import annotations

import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.scenarios import DOWN, SCENARIOS, SWEEP, Scenario
from tests.crash.steps import Cut, CutAt, Place
from tests.crash.world import DESK, LAPTOP, Ended, Program, World, new_world, started_program

READING = ("Describe", "Get", "agent status")
CUT_SHORT = (0, 1, 3, 4, 6)  # how a command that was cut, and not killed, may end; 1: the machine does not answer
GIVES_WAY = ("finishes it; then", "saves and ends it")  # refusals whose hint is to bring the drive down first


@dataclass(frozen=True)
class Trial:
    """One cut of one scenario, and who types what next."""

    scenario: Scenario
    cut_at: CutAt
    then: tuple[str, ...]
    home: str

    @property
    def changes_something(self) -> bool:
        """Whether the step does more than read."""
        return not self.cut_at.place.operation.startswith(READING)

    @property
    def may_undo(self) -> bool:
        """Whether the command gives its lock back: it lives, and knows that AWS granted no machine."""
        takes_lock = self.scenario.argv[0] in ("up", "drives")
        return takes_lock and not self.cut_at.cut.kills and self.cut_at.place.operation != "RunInstances"

    def __str__(self) -> str:
        cut = f"{self.cut_at.place} {self.cut_at.cut.value}"
        return f"{self.scenario.name}: {cut}; then {' '.join(self.then)} on the {self.home}"


@dataclass
class Outcome:
    """What came of a trial: `reached` unless the step never came; `waited` if a fresh lock had to grow old."""

    trial: Trial
    reached: bool = True
    waited: bool = False
    wrong: list[str] = field(default_factory=list)
    story: str = ""


@dataclass(frozen=True)
class Situation:
    """A scenario made once: `directory` is the world before its command, `steps` those of the command uncut."""

    scenario: Scenario
    directory: Path
    program: Program
    steps: list[Place]

    def world(self, directory: Path) -> AbstractContextManager[World]:
        """A copy of that world, in a directory that does not exist yet."""
        return new_world(directory, self.program, like=self.directory, drives=self.scenario.drives)


def make_situation(scenario: Scenario, directory: Path, program: Program) -> Situation:
    """Prepare the scenario in a directory, and run its command once in a copy."""
    with new_world(directory, program, drives=scenario.drives) as world:
        scenario.prepare(world)
    situation = Situation(scenario, directory, program, [])
    with situation.world(directory.with_name(f"{directory.name} uncut")) as world:
        ended = world.type_well(*scenario.argv)
        scenario.changes(world)
        wrong = world.wrong_at_any_time()
        assert not wrong, f"uncut: {wrong}"
        return replace(situation, steps=[Place(*_split(step)) for step in ended.steps])


def _split(step: str) -> tuple[str, int]:
    operation, _, nth = step.rpartition(" ")
    return operation, int(nth)


def trials_of(situation: Situation) -> Iterator[Trial]:
    """Every cut. The next commands and the computers take turns, so that each cut meets others at every step.

    A step that only reads is the same before and after: it is cut before.
    """
    scenario = situation.scenario
    ends = list(itertools.product(scenario.nexts, (LAPTOP, DESK)))
    for number, place in enumerate(situation.steps):
        reads = place.operation.startswith(READING)
        for kind, cut in enumerate(cut for cut in Cut if not (reads and cut.after)):
            then, home = ends[(number + kind) % len(ends)]
            yield Trial(scenario, CutAt(place, cut), then, home)


def run(trial: Trial, situation: Situation, directory: Path) -> Outcome:
    """Cut, go on, look."""
    outcome = Outcome(trial)
    with situation.world(directory) as world:
        before = world.claims()
        ended = world.type(*trial.scenario.argv, cut_at=trial.cut_at)
        if str(trial.cut_at.place) not in ended.steps:
            outcome.reached = False
            return outcome
        trial.scenario.changes(world)
        outcome.wrong += _wrong_end(ended, trial.cut_at)
        if trial.may_undo and world.claims() - before:
            outcome.wrong.append("leaked lock: an up that failed gives it back")
        world.work("after the cut")
        outcome.wrong += world.wrong_at_any_time()
        _go_on(world, outcome)
        outcome.story = "\n".join(map(str, world.typed))
    return outcome


def _go_on(world: World, outcome: Outcome) -> None:
    """The next command; then the drive is brought down; a computer that keeps a key forgets it in a month."""
    looks: dict[str, Callable[[], list[str]]] = {
        "up": world.wrong_when_up,
        "save": world.wrong_when_saved,
        "sweep": world.wrong_when_swept,
    }
    trial = outcome.trial
    _type_on(world, trial.then, outcome)
    if trial.then == trial.scenario.argv:
        trial.scenario.changes(world)
    outcome.wrong += looks.get(trial.then[0], world.wrong_at_any_time)()
    world.work(f"after {' '.join(trial.then)}")
    _type_on(world, DOWN, outcome)
    outcome.wrong += world.wrong_when_down()
    if world.key_files():
        world.month_passes()
        for home in (LAPTOP, DESK):
            world.type_well(*SWEEP, home=home)
        outcome.wrong += [*world.wrong_when_down(), *(f"leaked key: {key}" for key in world.key_files())]


def _wrong_end(ended: Ended, cut_at: CutAt) -> list[str]:
    if cut_at.cut.kills:
        return [] if ended.status is None else [f"not killed: {ended}"]
    wrong = [] if ended.status in CUT_SHORT else [f"ended with {ended.status}"]
    return wrong + ["an unexpected error"] * ("unexpected" in ended.said)


def _type_on(world: World, argv: tuple[str, ...], outcome: Outcome) -> None:
    """Type a command, and do what a refusal says: wait until a lock is old, or bring the drive down first."""
    home = outcome.trial.home
    for _ in range(3):
        ended = world.type(*argv, home=home)
        if world.claims() and not outcome.waited and (ended.status == 3 or argv == SWEEP):
            if argv != SWEEP and f"is being brought up by {LAPTOP}@" not in ended.said:
                outcome.wrong.append("the refusal does not name the holder")
            world.ten_minutes_pass()
            outcome.waited = True
        elif ended.status != 0 and any(hint in ended.said for hint in GIVES_WAY):
            world.type_well(*DOWN, home=home)
        else:
            break
    unknown = 'there is no portal "demo"' in ended.said and world.knows_nothing()  # cut before there was anything
    unknown |= 'there is no drive "demo"' in ended.said and not world.has_copies()  # cut after all was deleted
    if ended.status != (3 if unknown else 0):
        outcome.wrong.append(f"{' '.join(argv)} ended with {ended.status}")


@dataclass
class Row:
    """The line of a scenario in the report."""

    scenario: str
    steps: int
    outcomes: list[Outcome] = field(default_factory=list)

    def __str__(self) -> str:
        reached = [outcome for outcome in self.outcomes if outcome.reached]
        kinds = [sum(o.trial.cut_at.cut is cut for o in reached) for cut in Cut]
        lost = sum(any("lost" in wrong for wrong in o.wrong) for o in reached)
        other = sum(bool(o.wrong) for o in reached) - lost
        waited = sum(o.waited for o in reached)
        numbers = [self.steps, len(reached), *kinds, waited, lost, other]
        return f"{self.scenario:32}" + "".join(f"{number:8}" for number in numbers)


HEADINGS = ("steps", "cuts", "kill<", "refuse", "never", "kill>", "500", "lost>", "waited", "losses", "leaks")


def main(words: list[str]) -> int:
    """Run the scenarios named, or all; the number of cuts after which something was wrong."""
    names = [word for word in words if word != "--changing"]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    chosen = [s for s in SCENARIOS if not names or s.name in names]
    rows = []
    with tempfile.TemporaryDirectory() as name, started_program(Path(name)) as program:
        for scenario in chosen:
            began = time.monotonic()
            rows.append(cut_everywhere(scenario, Path(name), program, everything="--changing" not in words))
            say(f"{rows[-1]}   {time.monotonic() - began:.0f} s")
    say(f"{'':32}" + "".join(f"{heading:>8}" for heading in HEADINGS))
    for row in rows:
        say(str(row))
    return sum(bool(outcome.wrong) for row in rows for outcome in row.outcomes)


def cut_everywhere(scenario: Scenario, directory: Path, program: Program, *, everything: bool) -> Row:
    """Every cut of a scenario; what is wrong is told as it comes."""
    situation = make_situation(scenario, directory / scenario.name, program)
    row = Row(scenario.name, len(situation.steps))
    for number, trial in enumerate(t for t in trials_of(situation) if everything or t.changes_something):
        outcome = run(trial, situation, directory / f"{scenario.name} {number}")
        row.outcomes.append(outcome)
        if outcome.wrong:
            say("\n  ".join([str(trial), *outcome.wrong, outcome.story]))
    return row


def say(line: str) -> None:
    """On stdout, at once: a full run takes an hour."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
