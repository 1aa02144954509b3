"""Every command suspended before every one of its calls to AWS, while whole stories happen elsewhere.

`python -m tests.crash.suspensions [SCENARIO...]` plays all of it; `--every N` plays every N-th only.

A closed lid, Ctrl-Z, minutes of retries: a command looks, sleeps for hours, and acts on what it saw. Here each command
is suspended once, before one of its calls; meanwhile somebody at another computer brings the drive up, works, loses the
machine or brings the drive down, chooses an older copy, or two of these; then the command goes on. AWS's lists and tags
lag one to three seconds, and time is virtual. In the end the drive goes down and comes up: all that was acknowledged is
there, in order; each deletion had a complete successor at that moment; nothing is left.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.crash.histories.clock import WORK_SECONDS, CtrlC
from tests.crash.histories.lagging import Lagging
from tests.crash.histories.laptop import KilledError, Laptop, Trouble
from tests.crash.histories.ledger import Violation, read_records
from tests.crash.histories.world import World, open_world
from xportal.aws.devices import DEVICE
from xportal.errors import DriveInUse, MachineLost, Refused, SaveIncomplete, XportalError
from xportal.sandbox.api.ec2 import instances, interruption, key_pairs

SLEEP_SECONDS = 60.0  # of the suspended command, before somebody else does anything
PATIENCE_SECONDS = 700.0  # of somebody who is told that a drive is being brought up: then its lock is old
NOTICE_SECONDS = 120.0
SEED = 20260101
KINDS = ("lost", "leaked", "stuck")
READING = ("Describe", "Get")
READ_TURNS = 5  # of the stories, two in ten come before a call that only looks


@dataclass
class Play:
    """One drive, somebody whose command is suspended, and somebody else. `role`: machines take snapshots."""

    world: World
    role: bool
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    oldest: str = ""  # the first snapshot that was taken
    rolled: str = ""  # the rolling checkpoint
    at_work: str = ""  # the machine on which somebody else works
    _written: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def ann(self) -> Laptop:
        """Whose command is suspended."""
        return self.world.laptops[0]

    @property
    def bob(self) -> Laptop:
        """Who does everything else meanwhile."""
        return self.world.laptops[1]

    def attempt(self, laptop: Laptop, what: str, command: Callable[[], Any]) -> BaseException | None:
        """Run a command; the error that its user meets, if it ends with one."""
        try:
            command()
        except (XportalError, KilledError, CtrlC) as error:
            self.told.append(f"{laptop.name}: {what}: {error!r} after {laptop.calls} calls")
            return error
        except Violation as violation:
            self.wrong.append(f"lost: {violation}")
            return None
        self.told.append(f"{laptop.name}: {what}: done in {laptop.calls} calls")
        return None

    def up(self, laptop: Laptop) -> bool:
        """Bring the drive up; wait where a lock has to grow old, and bring it down where a refusal says so."""
        drive = self.world.drive

        def command() -> None:
            self.at_work = laptop.up(drive).id

        for _ in range(4):
            error = self.attempt(laptop, "up", command)
            if error is None:
                return True
            if isinstance(error, DriveInUse):
                self.world.clock.advance(PATIENCE_SECONDS)
            elif isinstance(error, (MachineLost, Refused, SaveIncomplete)):
                self.attempt(laptop, "down", lambda: laptop.down(drive))
            else:
                self.world.clock.advance(30)
        return False

    def write(self) -> None:
        """A program on the machine that somebody was told is ready writes, and flushes."""
        machine = instances.find_instance(self.world.backend, self.at_work)
        volume = self.world.mounted(machine) if machine and machine.state == "running" else None
        if volume:
            record = f"record {next(self._written)}"
            self.told.append(f"{record} on {volume}, {self.at_work}")
            self.world.ledger.write(volume, record)
            self.world.flush(volume)

    def cut_power(self) -> None:
        """The machine is gone, with no warning."""
        for machine in self.world.machines("running"):
            self.told.append(f"power cut of {machine.id}")
            interruption.interrupt(self.world.backend, machine, 0, notice=False)
        self.world.clock.advance(WORK_SECONDS)

    def notice(self) -> None:
        """AWS takes the machine back: it saves by itself, and then the power goes."""
        for machine in self.world.machines("running"):
            interruption.interrupt(self.world.backend, machine, NOTICE_SECONDS, notice=True)
            self.told.append(f"notice to {machine.id}: {self.world.save_itself(machine, role=self.role)}")
        self.world.clock.advance(NOTICE_SECONDS + WORK_SECONDS)

    def life(self, end: Callable[[], None] | None = None) -> None:
        """The first computer brings the drive up, writes, and the machine ends."""
        self.up(self.ann)
        self.write()
        if end:
            end()

    def down(self, laptop: Laptop) -> None:
        """Bring the drive down."""
        self.attempt(laptop, "down", lambda: laptop.down(self.world.drive))

    def restore(self, laptop: Laptop) -> None:
        """Choose the rolling checkpoint, or the first copy that was saved; wait where a lock has to grow old."""
        found = self.rolled or self.oldest or next((s.id for s in self.world.snapshots()), "snap-0")
        for _ in range(2):
            error = self.attempt(laptop, "restore", lambda: laptop.restore(self.world.drive, found))
            if not isinstance(error, DriveInUse):
                return
            self.world.clock.advance(PATIENCE_SECONDS)

    def note_oldest(self) -> None:
        """Remember the first snapshot."""
        self.oldest = self.oldest or min((s.start_time, s.id) for s in self.world.snapshots())[1]

    def roll(self) -> None:
        """The machine takes a rolling checkpoint, and the program goes on."""
        [machine] = self.world.machines("running")
        self.rolled = self.world.roll(machine)
        self.world.clock.advance(60)
        self.write()


# Situations


def _nothing(_: Play) -> None: ...


def _saved(play: Play) -> None:
    """One life is over."""
    play.life(lambda: play.down(play.ann))
    play.note_oldest()


def _saved_twice(play: Play) -> None:
    """Two lives are over."""
    _saved(play)
    play.life(lambda: play.down(play.ann))


def _at_work(play: Play) -> None:
    """A second life."""
    _saved(play)
    play.life()


def _rolled(play: Play) -> None:
    """A second life, with a rolling checkpoint."""
    _at_work(play)
    play.roll()


def _cut(play: Play) -> None:
    """A second life's machine lost its power; its volume is left."""
    _at_work(play)
    play.cut_power()


def _noticed(play: Play) -> None:
    """A second life's machine was taken back, and saved by itself."""
    _at_work(play)
    play.notice()


def _noticed_slowly(play: Play) -> None:
    """The same; AWS takes its time for the snapshot."""
    play.world.cloud.settings.snapshot_seconds = 10
    _at_work(play)
    play.world.cloud.settings.snapshot_seconds = 240
    play.notice()
    play.world.cloud.settings.snapshot_seconds = 10


def _rolled_and_noticed(play: Play) -> None:
    """A second life with a rolling checkpoint; its machine was taken back."""
    _rolled(play)
    play.notice()


def _crowded(play: Play) -> None:
    """A volume is left in a zone that has no machine."""
    _cut(play)
    play.world.cloud.add_fault("capacity", count=1)


@dataclass(frozen=True)
class Scenario:
    """A command in a situation."""

    name: str
    prepare: Callable[[Play], None]
    command: Callable[[Play, Laptop], object]


def _up(play: Play, laptop: Laptop) -> None:
    laptop.up(play.world.drive)


def _down(play: Play, laptop: Laptop) -> None:
    laptop.down(play.world.drive)


def _no_wait(play: Play, laptop: Laptop) -> None:
    laptop.down(play.world.drive, wait=False)


def _discard(play: Play, laptop: Laptop) -> None:
    newest = play.world.ledger.newest()
    laptop.gives_up = (newest.id, newest.attachments) if newest and newest.is_volume else None
    try:
        laptop.down(play.world.drive, discard=True)
    finally:
        laptop.gives_up = None


def _restore(play: Play, laptop: Laptop) -> None:
    laptop.restore(play.world.drive, play.oldest)


def _restore_rolled(play: Play, laptop: Laptop) -> None:
    laptop.restore(play.world.drive, play.rolled)


def _restore_volume(play: Play, laptop: Laptop) -> None:
    laptop.restore(play.world.drive, play.world.volumes()[0].id)


SCENARIOS = (
    Scenario("up, a new drive", _nothing, _up),
    Scenario("up, from a snapshot", _saved, _up),
    Scenario("up, after a power cut", _cut, _up),
    Scenario("up, no machine in the zone", _crowded, _up),
    Scenario("up, after a notice", _noticed, _up),
    Scenario("up, its final pending", _noticed_slowly, _up),
    Scenario("save", _at_work, lambda play, laptop: laptop.save(play.world.drive)),
    Scenario("down", _at_work, _down),
    Scenario("down --no-wait", _at_work, _no_wait),
    Scenario("down, after a power cut", _cut, _down),
    Scenario("down, after a notice", _noticed, _down),
    Scenario("down, rolling checkpoints", _rolled, _down),
    Scenario("down --discard", _at_work, _discard),
    Scenario("down --discard, a volume", _cut, _discard),
    Scenario("sweep, after a power cut", _cut, lambda _, laptop: laptop.sweep()),
    Scenario("sweep, its final pending", _noticed_slowly, lambda _, laptop: laptop.sweep()),
    Scenario("sweep, rolling checkpoints", _rolled_and_noticed, lambda _, laptop: laptop.sweep()),
    Scenario("restore", _saved_twice, _restore),
    Scenario("restore, a rolling checkpoint", _rolled_and_noticed, _restore_rolled),
    Scenario("restore, a volume", _cut, _restore_volume),
)


# What happens elsewhere

Story = Callable[[Play], None]


def _work_until(end: Story) -> Story:
    def story(play: Play) -> None:
        if play.up(play.bob):
            play.write()
            end(play)

    return story


def _two(first: Story, second: Story) -> Story:
    def story(play: Play) -> None:
        first(play)
        play.world.clock.advance(SLEEP_SECONDS)
        second(play)

    return story


def _bob_down(play: Play) -> None:
    play.down(play.bob)


def _bob_restores(play: Play) -> None:
    play.restore(play.bob)


def _lock_deleted(play: Play) -> None:
    """Somebody deletes the lock by hand."""
    lock = play.world.lock()
    if lock:
        play.told.append("the lock is deleted by hand")
        key_pairs.delete_key_pair(play.world.backend, {"KeyName": lock.key_name})


_CUT, _DOWN, _NOTICE = _work_until(Play.cut_power), _work_until(_bob_down), _work_until(Play.notice)
STORIES: dict[str, Story] = {
    "up, power cut": _CUT,
    "up, down": _DOWN,
    "up, at work": _work_until(lambda _: None),
    "lock deleted; up, at work": _two(_lock_deleted, _work_until(lambda _: None)),
    "up, notice": _NOTICE,
    "down": _bob_down,
    "restore": _bob_restores,
    "restore, up, power cut": _two(_bob_restores, _CUT),
    "up, power cut, twice": _two(_CUT, _CUT),
    "up, power cut; up, down": _two(_CUT, _DOWN),
    "up, down; up, power cut": _two(_DOWN, _CUT),
}


@dataclass(frozen=True)
class Trial:
    """One suspension: of a scenario's command, before one of its calls, during a story."""

    scenario: Scenario
    role: bool
    at: int
    story: str

    def __str__(self) -> str:
        role = "with a role" if self.role else "no role"
        return f"{self.scenario.name}, {role}: suspended before call {self.at}; {self.story}"


@dataclass
class Outcome:
    """What came of a trial."""

    trial: Trial
    wrong: list[str]
    told: list[str]

    def __str__(self) -> str:
        return "\n  ".join([str(self.trial), *self.wrong, *self.told])


@dataclass
class Stage:
    """Where scenarios are played. Each suspension goes on in a fork of this process, with copies of its files: so what
    came before a suspension is played once, and not once for each story.
    """

    world: World
    every: int = 1  # of how many trials one is played
    stops: bool = False  # at the first that finds something
    processes: int = 2
    outcomes: list[Outcome] = field(default_factory=list)
    _number: int = 0
    _running: dict[int, tuple[Trial, Path]] = field(default_factory=dict)
    _asleep: Trial | None = None  # in a fork: the trial that it plays
    _reports: Path = field(init=False)

    def __post_init__(self) -> None:
        """What the forks tell lies beside the homes."""
        self._reports = self.world.homes / "forks"

    def play(self, scenario: Scenario, *, role: bool) -> None:
        """All suspensions of a scenario's command. Raises AssertionError if it fails undisturbed."""
        play = begin(self.world, scenario, role=role)
        play.ann.trouble = Trouble(0, "each", meanwhile=lambda: self._suspend(play, scenario))
        try:
            error = play.attempt(play.ann, scenario.name, lambda: scenario.command(play, play.ann))
        finally:
            if self._asleep:
                self._report(play)
        while self._running:
            self._collect()
        self.world.end()
        if error or play.wrong:
            raise AssertionError(f"{scenario.name}, undisturbed: {error!r}, {play.wrong}")

    def _suspend(self, play: Play, scenario: Scenario) -> None:
        """Before each call: a fork for each story, in which that comes first. Calls that only look take turns."""
        reads = play.ann.call.startswith(READING)
        for number, story in enumerate(STORIES):
            turn = play.ann.calls + number
            if reads and (turn % 2 != play.role or turn % READ_TURNS not in (0, 1)):
                continue
            self._number += 1
            done = self.stops and any(outcome.wrong for outcome in self.outcomes)
            if (
                self._number % self.every == 0
                and not done
                and self._fork(play, Trial(scenario, play.role, play.ann.calls, story))
            ):
                return

    def _fork(self, play: Play, trial: Trial) -> bool:
        """Whether this is the fork: then the story is over, and the command goes on."""
        while len(self._running) >= self.processes:
            self._collect()
        place = self._reports / str(self._number)
        place.mkdir(parents=True)
        play.world.copy_files(place / "files")
        process = os.fork()
        if process:
            self._running[process] = trial, place
            return False
        gc.disable()  # it lives for a second, in which collecting would copy the memory that it shares
        self._asleep, self._reports = trial, place
        play.ann.trouble = None
        with _ended_by_violations(play):
            play.world.move_to(place / "files")
            play.told.append(f"  suspended before call {trial.at}:")
            play.world.clock.advance(SLEEP_SECONDS)
            STORIES[trial.story](play)
            play.world.clock.advance(SLEEP_SECONDS)
            play.told.append("  goes on")
            os.environ["XDG_STATE_HOME"] = str(play.ann.home)
        return True

    def _report(self, play: Play) -> NoReturn:
        """The end of a fork, however it ends: it has none of the threads that its parent would wait for."""
        try:
            with _ended_by_violations(play):
                _finish(play)
            play.wrong += [f"lost: {violation}" for violation in play.world.violations]
            (self._reports / "report").write_text(json.dumps([play.wrong, play.told]))
        finally:
            os._exit(0)

    def _collect(self) -> None:
        process, _ = os.wait()
        trial, place = self._running.pop(process)
        report = place / "report"
        wrong, told = json.loads(report.read_text()) if report.exists() else (["lost: the fork died"], [])
        self.outcomes.append(Outcome(trial, wrong, told))
        shutil.rmtree(place)


@contextmanager
def _ended_by_violations(play: Play) -> Iterator[None]:
    """What is found wrong is reported; what is no finding ends the fork with its traceback."""
    try:
        yield
    except Violation as violation:
        play.wrong.append(f"lost: {violation}")
    except Exception:
        play.wrong.append(f"lost: {traceback.format_exc()}")


def begin(world: World, scenario: Scenario, *, role: bool) -> Play:
    """The scenario's situation."""
    world.begin(10)
    world.saves_itself, world.strict = role, False
    if isinstance(world.wire, Lagging):
        world.wire.begin(SEED)
    play = Play(world, role)
    scenario.prepare(play)
    world.clock.advance(SLEEP_SECONDS)
    return play


def _finish(play: Play) -> None:
    """Who works goes on working. Then the drive goes down, leaving nothing, and comes up with everything."""
    world = play.world
    play.write()
    world.ledger.check_newest()
    world.cloud.clear_faults()
    world.clock.advance(3600)
    error = play.attempt(play.ann, "down", lambda: play.ann.down(world.drive))
    left = [record.id for record in (*world.machines(), *world.volumes(), *([world.lock()] if world.lock() else []))]
    if error or left:
        play.wrong.append(f"leaked: {left}, {error!r}")
    if not play.up(play.bob):
        play.wrong.append("stuck: the drive does not come up")
        return
    world.ledger.check_newest()
    [machine] = world.machines("running")
    records = read_records(world.disks.volume_path(machine.block_device_mapping[DEVICE].volume_id))
    if records != world.ledger.acknowledged:
        play.wrong.append(f"lost: {records} came up, acknowledged is {world.ledger.acknowledged}")


def play_all(
    world: World, names: Sequence[str] = (), every: int = 1, *, stops: bool = False
) -> Iterator[list[Outcome]]:
    """The outcomes of each scenario, of those named or of all. In a sample, with a role and without take turns."""
    stage = Stage(world, every, stops, processes=os.cpu_count() or 1)
    for number, scenario in enumerate(SCENARIOS):
        if not names or scenario.name in names:
            for role in (True, False) if every == 1 else (number % 2 == 0,):
                stage.play(scenario, role=role)
            yield stage.outcomes
            stage.outcomes = []


def main(words: Sequence[str] | None = None) -> int:
    """Play the scenarios named, or all; how many suspensions ended with anything wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.suspensions", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(s.name for s in SCENARIOS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="play every N-th suspension only")
    told = parser.parse_args(words)
    names, every = told.scenarios, told.every
    if unknown := set(names) - {scenario.name for scenario in SCENARIOS}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as directory, open_world(Path(directory), lagging=True) as world:
        began = time.monotonic()
        for outcomes in play_all(world, names, every):
            found += outcomes
            for outcome in outcomes:
                if outcome.wrong:
                    say(str(outcome))
            name = outcomes[0].trial.scenario.name if outcomes else ""
            say(f"{name:32}{len(outcomes):6} suspensions   {time.monotonic() - began:.0f} s")
    say(summary(found))
    return sum(bool(outcome.wrong) for outcome in found)


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many there were, and what was wrong."""
    kinds = {kind: sum(any(w.startswith(kind) for w in o.wrong) for o in outcomes) for kind in KINDS}
    return f"{len(outcomes)} suspensions: " + ", ".join(f"{kind} {count}" for kind, count in kinds.items())


def say(line: str) -> None:
    """On stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
