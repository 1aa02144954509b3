"""Real machines cut at every numbered step of their agent's logs, and the ordinary next command.

`python -m tests.stories.machine_cuts [--results FILE] [--phase PHASE]... [--kind KIND]...`

One portal lives on and on. A container in it writes records: one counts as acknowledged once it is flushed, on the
drive and in the container's layer, and then told to the outside. Each cut comes as a line of the log is written: the
agent is killed, or the power goes and what was not flushed is lost, or the network is lost until the agent has done
what it could alone. Then the user types `up`. Every acknowledged record must be there,
in order, the container write on, and nothing be left over.

Results go to FILE, one line a cut: started again, it goes on after the last of them. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from tests.stories.conftest import User, free_port
from tests.stories.long_lived import RECORDS, TOO_LONG, Portal, begun_portal, is_done, sentence
from tests.stories.machine_probe import PAUSE, SAVED, MachineProbe, wait_for
from xportal.sandbox.demo.traces import find_traces

NOTICE_SECONDS = 30.0
IDLE_SECONDS = 10.0
OPENING = ("device", "format", "mount", "dirty", "drive", "gpu", "hold")  # the steps of `agent open`


class Phase(str, Enum):
    """What the machine is at when it is cut."""

    BOOT = "boot"  # it has power; the agent has said nothing yet
    OPEN = "open"  # the agent opens the drive
    RESTORE = "restore"  # Docker, containers, home
    RUN = "run"  # line N is the container's N-th record
    NOTICE = "notice"  # the machine saves by itself
    FINAL = "final"  # `down` has it save


class Kind(str, Enum):
    """How it is cut."""

    KILL = "kill"
    POWER = "power"
    NETWORK = "network"


@dataclass(frozen=True)
class Trial:
    """One cut. `line` counts from 1 in the phase; a boot's only one is 0."""

    phase: Phase
    line: int
    kind: Kind

    def __str__(self) -> str:
        return f"{self.phase.value} {self.line} {self.kind.value}"


@dataclass
class Outcome:
    """What came of it."""

    trial: str
    at: str = ""  # the log's last sentence when it was cut; "": the line never came
    acknowledged: int = 0  # in all lives
    seen_lost: int = 0  # records that nobody had flushed, and that are gone
    losses: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    typed: list[str] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.losses or self.leaks or self.wrong)

    def __str__(self) -> str:
        seen = f", {self.seen_lost} unflushed records lost" * (self.seen_lost > 0)
        words = [f"{self.trial:20} {self.seconds:5.1f} s  {self.at or 'not reached'}{seen}"]
        return "\n  ".join([*words, *self.losses, *self.leaks, *self.wrong, *([] if self.is_fine else self.typed)])


class Cut:
    """A trial's cut: `at` is the last sentence before it, "" until it comes; `seen` how many lines there were."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.at = ""
        self.seen = 0

    def watch(
        self, machine: MachineProbe, lines: Callable[[], list[dict[str, Any]]], is_over: Callable[[], bool]
    ) -> None:
        """Cut as the line is written, unless it is over before."""
        while not self.at:
            over = is_over()  # before the last look
            self.seen = max(self.seen, len(lines()))
            if self.seen >= self.trial.line:
                self._cut(machine, lines)
            elif over:
                return
            else:
                time.sleep(PAUSE)

    @property
    def lost_network(self) -> bool:
        """Whether the machine is without a network now."""
        return bool(self.at) and self.trial.kind is Kind.NETWORK

    @property
    def lost_power(self) -> bool:
        """Whether the machine is gone."""
        return bool(self.at) and self.trial.kind is Kind.POWER

    def _cut(self, machine: MachineProbe, lines: Callable[[], list[dict[str, Any]]]) -> None:
        with machine.held():
            there = lines()
            self.at = sentence(there[-1]) if there else "power on"
            {Kind.KILL: machine.kill_agents, Kind.POWER: machine.stop_agents, Kind.NETWORK: machine.lose_network}[
                self.trial.kind
            ]()
        if self.trial.kind is Kind.POWER:
            machine.cut_power()


def lines_of(boot: list[dict[str, Any]], phase: Phase) -> list[dict[str, Any]]:
    """The lines of a boot's log that are of a phase."""
    return [line for line in boot if (line.get("step") in OPENING) is (phase is Phase.OPEN)]


class Lives:
    """One life of the portal after the other, each cut once."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self._ended = 0

    def learn(self) -> dict[str, int]:
        """How many steps each phase has, from lives that are not cut. Leaves the portal up."""
        steps = {Phase.BOOT.value: 0, Phase.RUN.value: RECORDS}
        for phase in (Phase.OPEN, Phase.RESTORE, Phase.NOTICE, Phase.FINAL):
            cut = Cut(Trial(phase, sys.maxsize, Kind.KILL))
            self._live(cut)
            self.portal.come_up()
            steps[phase.value] = cut.seen
        return steps

    def run(self, trial: Trial) -> Outcome:
        """Cut, go on, look."""
        began = time.monotonic()
        cut, portal = Cut(trial), self.portal
        outcome = Outcome(str(trial), typed=portal.forget_typed())
        try:
            self._live(cut)
            machine = portal.come_up()
            outcome.seen_lost = portal.ledger.see_lost(machine)
            outcome.losses = portal.ledger.losses(machine)
            outcome.leaks = portal.leaks()
            outcome.wrong = [text for text in portal.typed if TOO_LONG in text]
        except AssertionError as error:
            outcome.wrong.append(str(error))
            portal.start_over()
        outcome.at = cut.at
        outcome.acknowledged = len(portal.ledger.acknowledged)
        outcome.seconds = round(time.monotonic() - began, 1)
        return outcome

    def _live(self, cut: Cut) -> None:
        lives = {Phase.RUN: self._run, Phase.NOTICE: self._notice, Phase.FINAL: self._final}
        assert self.portal.machine
        lives.get(cut.trial.phase, self._boot)(cut, self.portal.machine)

    def _boot(self, cut: Cut, before: MachineProbe) -> None:
        """The life before ends in a `down` or without a word, by turns: this one begins with snapshot or volume."""
        self._ended += 1
        if self._ended % 2:
            before.cut_power()
        else:
            self.portal.type("down", "demo")
        self.portal.is_gone()
        with self.portal.typing("up", "demo", "--cpu") as up:
            machine = self.portal.ends.wait_for_machine(lambda: up.poll() is not None)
            cut.watch(machine, lambda: lines_of(machine.log("boot"), cut.trial.phase), lambda: up.poll() is not None)
            if cut.lost_network:
                wait_for("the agent to do what it can alone", Alone(machine).is_over, 90)
                machine.find_network()

    def _run(self, cut: Cut, machine: MachineProbe) -> None:
        """Nothing but the container's work goes on."""
        told = self.portal.ledger.told
        before = told(machine)
        cut.watch(machine, lambda: [{"text": f"record {n + 1}"} for n in range(told(machine) - before)], lambda: False)
        if cut.lost_power:
            self.portal.is_gone()
            return
        count = told(machine)
        wait_for("the container to write on", lambda: told(machine) > count + RECORDS, 30)
        if cut.lost_network:
            machine.find_network()
        wait_for("the agent to watch again", machine.agents, 30)

    def _notice(self, cut: Cut, machine: MachineProbe) -> None:
        """The machine saves. Once it has, the power goes, and not only at the time that was announced."""
        self.portal.ends.interrupt(machine.instance_id, notice_seconds=NOTICE_SECONDS)

        def lines() -> list[dict[str, Any]]:
            return [line for name in machine.logs() if name.startswith("notice-") for line in machine.log(name)]

        cut.watch(machine, lines, lambda: is_done(lines()))
        if not cut.lost_power:
            saved = machine.path(SAVED).exists if cut.lost_network else lambda: is_done(lines())
            wait_for("the machine to save by itself", saved, NOTICE_SECONDS)
            machine.cut_power()
        self.portal.is_gone()

    def _final(self, cut: Cut, machine: MachineProbe) -> None:
        """`down`; without its network the machine ends the save alone."""
        before = machine.logs()
        with self.portal.typing("down", "demo") as down:

            def lines() -> list[dict[str, Any]]:
                return [line for name in machine.logs() - before for line in machine.log(name)]

            cut.watch(machine, lines, lambda: down.poll() is not None)
            if cut.lost_network:
                wait_for("the machine to save alone", lambda: is_done(lines()), 60)
                machine.find_network()
        if machine.has_power:  # `down` was refused, and said what to do: type it again
            self.portal.type("down", "demo")
        self.portal.is_gone()


class Alone:
    """What an agent does whose `up` has lost it. The last part of the boot is not done if nobody had asked for it yet:
    then nothing is at work for IDLE_SECONDS.
    """

    def __init__(self, machine: MachineProbe) -> None:
        self._machine = machine
        self._busy = time.monotonic()  # at work for the last time

    def is_over(self) -> bool:
        """Whether nothing more will come."""
        if self._machine.is_busy():
            self._busy = time.monotonic()
            return False
        return has_started(self._machine) or time.monotonic() - self._busy > IDLE_SECONDS


def has_started(machine: MachineProbe) -> bool:
    """Whether the agent has started the containers, or failed."""
    state = machine.path("/run/xportal/state.json")
    told = json.loads(state.read_bytes()) if state.exists() else {}
    return bool(told.get("started")) or told.get("phase") == "failed"


# The full matrix.


def trials_of(steps: dict[str, int]) -> Iterator[Trial]:
    """Every kind of cut at every line of every phase."""
    for phase in Phase:
        for line in range(min(1, steps[phase.value]), steps[phase.value] + 1):
            for kind in Kind:
                yield Trial(phase, line, kind)


class Results:
    """A file with the phases' steps in its first line, then an outcome a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.steps: dict[str, int] = json.loads(lines[0])["steps"] if lines else {}
        self.outcomes = [Outcome(**json.loads(line)) for line in lines[1:]]

    def set_steps(self, steps: dict[str, int]) -> None:
        """Learned once: a second start has the same trials."""
        self.steps = steps
        self._write({"steps": steps})

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.outcomes.append(outcome)
        self._write({**asdict(outcome), "typed": [] if outcome.is_fine else outcome.typed})

    def _write(self, value: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(value) + "\n")

    def summary(self) -> str:
        """Cuts by phase and kind; what was lost and left."""
        reached = [outcome for outcome in self.outcomes if outcome.at]
        cuts = Counter((o.trial.split()[0], o.trial.split()[2]) for o in reached)
        rows = [f"{'':10}" + "".join(f"{kind.value:>10}" for kind in Kind)]
        for phase in Phase:
            rows.append(f"{phase.value:10}" + "".join(f"{cuts[phase.value, kind.value]:10}" for kind in Kind))
        rows.append(f"{'all':10}" + "".join(f"{sum(cuts[p.value, k.value] for p in Phase):10}" for k in Kind))
        seen = [outcome.seen_lost for outcome in reached if outcome.seen_lost]
        return "\n".join(
            [
                *rows,
                f"cuts {len(reached)}, not reached {len(self.outcomes) - len(reached)}",
                f"losses {sum(bool(o.losses) for o in self.outcomes)}",
                f"leaks {sum(bool(o.leaks) for o in self.outcomes)}",
                f"otherwise wrong {sum(bool(o.wrong) for o in self.outcomes)}",
                f"unflushed records seen lost {sum(seen)}, at {len(seen)} power cuts",
            ]
        )


def main(words: list[str]) -> int:
    """Go on where the results end; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stories.machine_cuts")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir(), "xportal-machine-cuts.jsonl"))
    parser.add_argument("--phase", choices=[phase.value for phase in Phase], action="append")
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], action="append")
    asked = parser.parse_args(words)
    results = Results(asked.results)
    with (
        tempfile.TemporaryDirectory(prefix="xportal-cuts-") as name,
        sandbox(Path(name)) as user,
        begun_portal(user) as portal,
    ):
        lives = Lives(portal)
        if not results.steps:
            results.set_steps(lives.learn())
        done = {outcome.trial for outcome in results.outcomes}
        for trial in trials_of(results.steps):
            chosen = trial.phase in (asked.phase or Phase) and trial.kind in (asked.kind or Kind)
            if chosen and str(trial) not in done:
                results.add(lives.run(trial))
                say(str(results.outcomes[-1]))
        left = portal.finish()
    left += find_traces(Path(name), f"HOME={name}")
    say("\n".join([results.summary(), *left]))
    return int(bool(left) or not all(outcome.is_fine for outcome in results.outcomes))


@contextmanager
def sandbox(home: Path) -> Iterator[User]:
    """Somebody with a running sandbox."""
    user = User(home, profile="xportal-sandbox")
    user.types("sandbox", "start", "--port", str(free_port()), timeout=600)
    try:
        yield user
    finally:
        user.types("sandbox", "reset")


def say(line: str) -> None:
    """On stdout, at once: all of it takes an hour."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
