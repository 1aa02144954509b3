"""Observe, plan, act, observe again: the loop that every command runs. Running it again is recovery.

What one run remembers, which machines did not answer and what was there when it began, only keeps it from doing
too much; a new run does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from xportal.aws import lag, tags
from xportal.aws.errors import AwsError, is_transient
from xportal.aws.records import Snapshot
from xportal.aws.session import Aws
from xportal.aws.tagging import tag_machine
from xportal.drive import plan as p
from xportal.drive.act import Executor
from xportal.drive.keep import Keep
from xportal.drive.locks import Heart, Lock
from xportal.drive.made import described
from xportal.drive.model import Drive
from xportal.drive.observe import find_strangers, observe
from xportal.drive.snapshots import Agent, Stuck
from xportal.errors import SaveIncomplete, Unreachable
from xportal.progress import Progress

POLL_SECONDS = (0.5, 10.0)  # between two looks: the first, and the longest
SHOWN_LATE = (p.TakeLock, p.ReleaseLock, p.Choose, p.KeepVolume, p.Terminate, p.Mark, p.DeleteVolume)  # by AWS
SNAPSHOT_RATE_SECONDS = 15.0  # AWS wants so much between two snapshots of a volume
MOST_REPEATS = 3  # of one action that should have changed what is observed


class Lifecycle:
    """The loop for one drive on behalf of one portal."""

    def __init__(
        self,
        aws: Aws,
        drive: str,
        *,
        portal: str | None,
        agent: Agent,
        progress: Progress,
        lock: Lock | None = None,
        seen: frozenset[str] | None = None,
    ) -> None:
        """`seen` is what was there when the command began (`Drive.there`); None: what the first look shows."""
        self._aws = aws
        self._drive = drive
        self._portal = portal
        self._progress = progress
        self._lock = lock
        self._unreachable: frozenset[str] = frozenset()
        self._seen = seen
        self._heart = Heart(aws, lock.launch) if lock else None
        self._waiting = ("", 0.0)  # for what, since when
        self._executor = Executor(aws, portal, agent, progress, lock)
        self.observed: Drive
        self.seconds: dict[str, float] = {}  # by action, waiting included, observing in "Observe"

    def settle(
        self,
        goal: p.Goal,
        *,
        choice: str = "",
        wait: bool = True,
        zones: frozenset[str] = frozenset(),
        keep: Keep | None = None,
        given_up: frozenset[str] = frozenset(),
        until: tuple[type, ...] = (),
    ) -> p.Launch | p.Attach | p.Ready | p.Done | p.Wait:
        """Act until the plan is Launch, Attach, Ready or Done, or an action of a type in `until` would be next.

        `choice`, `wait`, `zones`, `keep` and `given_up`: see plan.Request. Raises what Refuse carries, and
        SaveIncomplete when an action has no effect however often it is taken, or when a wait's text, progress included,
        does not change for as long as `aws.patience`.
        """
        asked = p.Request(goal, choice=choice, wait=wait, zones=zones, keep=keep, given_up=given_up)
        pause = POLL_SECONDS[0]
        taken: dict[str, int] = {}
        done: tuple[p.Action | None, float] = (None, 0.0)  # the last action, and until when AWS may not show it
        while True:
            with self._timed("Observe"):
                action = self.plan(asked)
            if isinstance(action, p.Refuse):
                raise action.error
            if isinstance(action, p.Launch):
                self._tell_source(action)
            if isinstance(action, (p.Launch, p.Attach, p.Ready, p.Done, *until)):
                return action  # type: ignore[return-value]
            if isinstance(action, p.Wait):
                pause = self._wait(action.text, pause)
                continue
            if action == done[0] and self._aws.clock.monotonic() < done[1]:
                self._aws.clock.sleep(POLL_SECONDS[0])
                continue
            self._count(action, taken)
            try:
                self._act(action, asked)
            except (AwsError, Unreachable) as error:
                pause = self._wait_after(error, action, goal, pause)
                if not isinstance(action, p.Checkpoint):  # for which work would be held up again and again
                    taken.clear()
                continue
            late = lag.SHOWN_SECONDS if isinstance(action, SHOWN_LATE) else 0.0
            done = (action, self._aws.clock.monotonic() + late)
            pause = POLL_SECONDS[0]

    def plan(self, asked: p.Request) -> p.Action:
        """The next action, from a fresh observation; what this run knows is added to what is `asked`."""
        drive = observe(self._aws, self._drive)
        if self._seen is None:
            self._seen = drive.there()
        self.observed = drive
        launch_id = self._lock.launch if self._lock else None
        known = replace(asked, portal=self._portal, launch_id=launch_id, unreachable=self._unreachable, seen=self._seen)
        return p.plan(drive, known)

    def _wait(self, text: str, pause: float, *, about: str = "") -> float:
        """Sleep, for AWS can only be asked again; how long the next time. `about` names what is waited for."""
        self._check_patience(text, about or text)
        self._progress.update(text)
        if self._heart:
            self._heart.beat()
        with self._timed("Wait"):
            self._aws.clock.sleep(pause)
        return min(pause * 1.5, POLL_SECONDS[1])

    def _check_patience(self, text: str, about: str) -> None:
        if about != self._waiting[0]:
            self._waiting = (about, self._aws.clock.monotonic())
        elif self._aws.clock.monotonic() - self._waiting[1] > self._aws.patience:
            what = f"{text}, for {self._aws.patience / 60:.0f} minutes without a change"
            raise self._incomplete(what, "AWS may still work on it")

    def _give_up(self, goal: p.Goal, error: AwsError | Unreachable) -> NoReturn:
        if goal in (p.Goal.DOWN, p.Goal.SWEEP):  # a save that has begun
            raise self._incomplete(error.message, error.hint) from error
        error.billed = error.billed or self._billed()
        error.hint = "; ".join(filter(None, [error.hint, "the same command goes on from here"]))
        raise error

    def _incomplete(self, what: str, hint: str = "") -> SaveIncomplete:
        return SaveIncomplete(
            f'drive "{self._drive}": {what}; nothing is lost',
            hint=f"{self._again()}        finishes it" + (f"; {hint}" if hint else ""),
            billed=self._billed(),
        )

    def _again(self) -> str:
        """The command that finishes what this one did not."""
        return f"xportal down {self._portal}" if self._portal else "xportal sweep"

    def _billed(self) -> tuple[str, ...]:
        machines = [f"{m.id} {m.type}" for m in self.observed.machines.values() if m.state != "terminated"]
        return (*machines, *(f"{v.id} {v.size_gib} GiB" for v in self.observed.volumes))

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = self._aws.clock.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + self._aws.clock.monotonic() - began

    def _count(self, action: p.Action, taken: dict[str, int]) -> None:
        name = type(action).__name__
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > MOST_REPEATS + len(self.observed.volumes):
            failed = self.observed.final_of(action.volume) if isinstance(action, p.SnapshotVolume) else None
            what = f"AWS could not finish {failed.id}" if failed else f"{name} changed nothing"
            raise self._incomplete(f"{_kept(action, what)} ({taken[name] - 1} times)")

    def _act(self, action: p.Action, asked: p.Request) -> None:
        with self._timed(type(action).__name__):
            if asked.goal is p.Goal.UP and isinstance(action, p.Terminate):  # a `watch` takes it for no person's doing
                tag_machine(self._aws, action.machine.id, {tags.REPLACED: "1"})
            if isinstance(action, p.SaveOnMachine):  # once: what cannot be saved there is saved when it is detached
                self._unreachable |= {action.machine.id}
            try:
                self._executor.carry_out(action, self.observed, asked.choice)
            except Stuck as error:
                raise self._incomplete(error.what, error.hint) from error

    def _wait_after(self, error: AwsError | Unreachable, action: p.Action, goal: p.Goal, pause: float) -> float:
        """The answer of what failed in passing may be lost: the next look tells. How long to wait the next time."""
        if not is_transient(error):
            self._give_up(goal, error)
        rate = isinstance(error, AwsError) and error.code == "SnapshotCreationPerVolumeRateExceeded"
        what = _kept(action, error.message)
        return self._wait(what, SNAPSHOT_RATE_SECONDS if rate else pause, about=type(action).__name__)

    def _tell_source(self, launch: p.Launch) -> None:
        """What a user of the AWS console may not expect."""
        source = launch.source
        if source is None:
            self._progress.say(f'drive "{self._drive}" is new: nothing is found of it')
        elif isinstance(source, Snapshot) and described(source) is None:
            self._progress.say(
                f"going on from {source.id} of {source.started:%Y-%m-%d %H:%M:%S}, which was made by hand"
            )
        for volume in find_strangers(self._aws, self.observed):
            self._progress.warn(
                f'{volume.id} is left alone: it may hold data of drive "{self._drive}", and has no tag {tags.DRIVE}; '
                f"a snapshot of it with Name={self._drive} is the newest data for the next up"
            )


def _kept(action: p.Action, trouble: str) -> str:
    """What went wrong, and of a save where the data is."""
    if not isinstance(action, (p.SaveOnMachine, p.SnapshotVolume)):
        return trouble
    return f"{action.volume.id} keeps everything, and is not saved: {trouble}"
