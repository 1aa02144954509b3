"""`watch`: a portal that AWS interrupts comes up again by itself, within limits that each end in a save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import tag_machine
from xportal.clock import Clock
from xportal.drive.model import LIVE
from xportal.drive.snapshots import Agent
from xportal.errors import DriveForked, Refused, SnapshotFailed, TooDear, UsageError, XportalError
from xportal.portal.down import down
from xportal.portal.endings import Ends, ends_of
from xportal.portal.prices import price_of
from xportal.portal.retry import pauses
from xportal.progress import Progress
from xportal.reports import WatchReport
from xportal.spec import DriveSpec, PortalSpec
from xportal.watch.look import Lookout
from xportal.watch.meter import Meter
from xportal.watch.step import ComeBack, End, Leave, Limits, Sight, Wait, next_step
from xportal.watch.successor import successor

LOOK_SECONDS = 15.0
# Only a person can do something about these; after all others the next look may find things well: also after
# NoCredentials, once there were some.
HOPELESS = (DriveForked, SnapshotFailed, UsageError)


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks, and before each next `up` after one that failed."""

    look: float = LOOK_SECONDS
    waits: Callable[[], Iterator[float]] = pauses


class Tries:
    """How the last `up` went, and when the next one may be tried, by the computer's own clock."""

    def __init__(self, waits: Callable[[], Iterator[float]], clock: Clock) -> None:
        self._new_waits = waits
        self._clock = clock
        self._waits = waits()
        self._not_before = 0.0
        self.went_well = True

    def seconds_left(self) -> float:
        """Until the next may be tried."""
        return max(0.0, self._not_before - self._clock.monotonic())

    def failed(self) -> None:
        """The next one waits longer."""
        self._not_before = self._clock.monotonic() + next(self._waits)

    def succeeded(self) -> None:
        """The portal is up."""
        self.went_well = True
        self._waits = self._new_waits()


class Watch:
    """The watch over one portal: look, find the next step, take it. `bring_up` is `up`, idempotent."""

    def __init__(
        self,
        aws: Aws,
        spec: PortalSpec,
        limits: Limits,
        progress: Progress,
        agent: Agent,
        bring_up: Callable[[PortalSpec, Ends], object],
        pace: Pace = Pace(),
    ) -> None:
        if limits.dollars is not None and spec.machine.on_demand:
            raise UsageError(
                "--on-demand and --budget exclude each other: AWS does not tell those prices", hint="--max-hours"
            )
        self._aws = aws
        self._spec = spec
        self._limits = limits
        self._progress = progress
        self._agent = agent
        self._bring_up = bring_up
        self._pace = pace
        self._lookout = Lookout(aws, spec.name)
        self._tries = Tries(pace.waits, aws.clock)
        self._ends = Ends(spec.name)
        self._interrupted: set[str] = set()  # the machines that AWS took

    def run(self) -> WatchReport:
        """Until a limit is met, or somebody ends the portal.

        Raises PortalNotUp if there is nothing to watch, Refused if a limit cannot be told, and what only a person can
        mend; the portal is then left as it is.
        """
        self.check()
        warned = ""
        while True:
            try:
                ended = self._step()
                warned = ""
            except XportalError as error:
                if isinstance(error, HOPELESS) and not isinstance(error, TooDear):
                    raise
                ended = None
                if error.message != warned:
                    wait = max(self._pace.look, self._tries.seconds_left())
                    self._progress.warn(f"{error.message}; trying again in {wait:.0f} s")
                warned = error.message
            if ended:
                return ended
            self._aws.clock.sleep(self._pace.look)  # AWS can only be asked again

    def check(self) -> None:
        """Strictly read-only: raises PortalNotUp if there is nothing to watch, Refused if a limit cannot be told."""
        machine = self._lookout.machine()
        is_counted = self._limits.dollars is not None and tags.ENDING not in machine.tags
        if is_counted and price_of(machine) is None:
            raise Refused(
                f"the price of {machine.id}, which --budget would count, is not known", hint="--max-hours limits it"
            )

    def _step(self) -> WatchReport | None:
        """One look, and what is to be done after it; the report if it is the last."""
        sight = self._lookout.look(asks_price=self._limits.price is not None)
        step = next_step(sight, self._limits, is_up=self._tries.went_well)
        match step:
            case Wait(text):
                self._progress.update(text)
            case ComeBack():
                self._come_back(sight)
            case Leave(why, meter):
                return self._report(why, meter)
            case End(why, meter):
                return self._end(why, sight.machine, meter)
        return None

    def _come_back(self, sight: Sight) -> None:
        machine = sight.machine
        if machine.state not in LIVE:  # of the ends that its drives told of, none is this machine's
            self._ends = Ends(self._spec.name, known=ends_of(sight.drives))
        if machine.state not in LIVE and machine.id not in self._interrupted:
            self._interrupted.add(machine.id)
            self._progress.say(f"{machine.id} ({machine.type} in {machine.zone}) is gone: {machine.state_reason}")
        self._tries.went_well = False
        if self._tries.seconds_left() > 0:  # limits are looked at meanwhile
            return
        drives = tuple(DriveSpec(name) for name in tags.drive_names(machine.tags))
        try:
            wanted = successor(self._aws, self._spec.machine, machine)
            self._bring_up(replace(self._spec, machine=wanted, drives=drives), self._ends)
        except XportalError:
            self._tries.failed()
            raise
        self._tries.succeeded()

    def _end(self, why: str, machine: Instance, meter: Meter) -> WatchReport:
        """What a `down` of ours leaves half done is finished at the next look, of this watch or of another one."""
        if tags.ENDING not in machine.tags:
            self._progress.say(f"{why}: saving and ending {self._spec.name}")
            tag_machine(self._aws, machine.id, {tags.ENDING: why})
            self._lookout.remember(replace(machine, tags={**machine.tags, tags.ENDING: why}))
        saved = down(self._aws, self._spec.name, self._progress, self._agent)
        return replace(self._report(why, meter), saved=saved)

    def _report(self, why: str, meter: Meter) -> WatchReport:
        return WatchReport(self._spec.name, why, len(self._interrupted), meter.dollars, meter.hours, saved=None)
