"""`watch`: a portal that AWS interrupts comes up again by itself, within limits that each end in a save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from xportal.aws import catalogue, compute, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags, tag_machine
from xportal.drive.model import ENDING, LIVE, Drive
from xportal.drive.observe import observe
from xportal.drive.snapshots import Agent
from xportal.errors import (
    DriveForked,
    Refused,
    SnapshotFailed,
    TooDear,
    UsageError,
    XportalError,
)
from xportal.portal.down import DownReport, down
from xportal.portal.endings import Ending, ending_of, last_sign
from xportal.portal.names import not_up
from xportal.portal.prices import price_of
from xportal.portal.retry import pauses
from xportal.progress import Progress
from xportal.spec import DriveSpec, PortalSpec
from xportal.watch.meter import Meter, read_meter
from xportal.watch.successor import successor

LOOK_SECONDS = 15.0
CLOCK_STEPS = timedelta(minutes=1)  # more than AWS's clock steps back, which its answers tell to the second
WRITE_EVERY = timedelta(minutes=5)  # a machine's meter
# Only a person can do something about these; after all others the next look may find things well: also after
# NoCredentials, once there were some.
HOPELESS = (DriveForked, SnapshotFailed, UsageError)


@dataclass(frozen=True)
class Limits:
    """Where the watch ends, with a save, besides the spec's price. Dollars and hours are those of the machines since it
    began.
    """

    dollars: float | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--budget", self.dollars), ("--max-hours", self.hours)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{option} {value:g} is not possible", hint=f"{option} takes a number above 0")


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks, and before each next `up` after one that failed."""

    look: float = LOOK_SECONDS
    waits: Callable[[], Iterator[float]] = pauses


@dataclass
class WatchReport:
    """How a watch ended. `saved` is what its own `down` left; None if somebody else ended the portal."""

    portal: str
    why: str
    interruptions: int
    dollars: float
    hours: float
    saved: DownReport | None = None


class Watch:
    """The watch over one portal. `bring_up` is `up`, idempotent.

    What it remembers only spares it from asking AWS for what AWS forgets: another one goes on from the tags.
    """

    def __init__(
        self,
        aws: Aws,
        spec: PortalSpec,
        limits: Limits,
        progress: Progress,
        agent: Agent,
        bring_up: Callable[[PortalSpec], object],
        pace: Pace = Pace(),
    ) -> None:
        if limits.dollars is not None and spec.machine.on_demand:
            raise UsageError(
                "--on-demand and --budget exclude each other: AWS does not tell those prices", hint="--max-hours"
            )
        self._aws = aws
        self._spec = spec
        self._limits = limits
        self._story = progress
        self._agent = agent
        self._bring_up = bring_up
        self._pace = pace
        self._last: Instance | None = None
        self._metered: tuple[str, Meter | None] = ("", None)  # the last machine, and its meter at the last look
        self._found: list[Instance] = []  # the portal's machines that AWS tells of
        self._interrupted: set[str] = set()
        self._order: dict[str, int] = {}  # of the machines, as they were seen: AWS tells launches to the second only
        self._is_up = True  # whether the last `up`, if there was one, went well
        self._not_before = 0.0  # when the next one may be tried, by the computer's own clock
        self._waits = pace.waits()

    def run(self) -> WatchReport:
        """Until a limit is met, or somebody ends the portal.

        Raises PortalNotUp if there is nothing to watch, Refused if a limit cannot be told, and what only a person can
        mend; the portal is then left as it is.
        """
        self.check()
        warned = ""
        while True:
            try:
                ended = self._look()
                warned = ""
            except XportalError as error:
                if isinstance(error, HOPELESS) and not isinstance(error, TooDear):
                    raise
                ended = None
                if error.message != warned:
                    wait = max(self._pace.look, self._not_before - time.monotonic())
                    self._story.warn(f"{error.message}; trying again in {wait:.0f} s")
                warned = error.message
            if ended:
                return ended
            time.sleep(self._pace.look)  # AWS can only be asked again

    def check(self) -> None:
        """Strictly read-only: raises PortalNotUp if there is nothing to watch, Refused if a limit cannot be told."""
        machine = self._get_machine()
        is_counted = self._limits.dollars is not None and tags.ENDING not in machine.tags
        if is_counted and price_of(machine) is None:
            raise Refused(
                f"the price of {machine.id}, which --budget would count, is not known", hint="--max-hours limits it"
            )

    def _look(self) -> WatchReport | None:
        """One look, and what is to be done after it; the report if it is the last."""
        machine = self._get_machine()
        if machine.state in ENDING and tags.ENDING not in machine.tags:
            self._story.update(f"{machine.id} is {machine.state}")
            return None
        is_live = machine.state in LIVE
        drives = [] if is_live else self._drives_of(machine)
        meter = self._read(machine, drives)
        if tags.ENDING in machine.tags:  # a `down` of a watch broke off
            return self._end(machine.tags[tags.ENDING], machine, meter)
        ending = None if is_live else ending_of(machine, drives)
        if ending is Ending.SOMEBODY:
            return self._report(f"somebody ended {machine.id} ({machine.state_reason or 'xportal down'})", meter)
        if ending is Ending.ITSELF:
            return self._end(f"{machine.id} has shut itself down, as when it is idle", machine, meter)
        why = self._exceeded(meter, machine)
        if why:
            return self._end(why, machine, meter)
        if not is_live or not self._is_up:
            self._come_back(machine)
        else:
            self._story.update(f"{machine.id} runs: ${meter.dollars:.2f}, {meter.hours:.1f} h")
        return None

    def _come_back(self, machine: Instance) -> None:
        if machine.state not in LIVE and machine.id not in self._interrupted:
            self._interrupted.add(machine.id)
            self._story.say(f"{machine.id} ({machine.type} in {machine.zone}) is gone: {machine.state_reason}")
        self._is_up = False
        if time.monotonic() < self._not_before:  # limits are looked at meanwhile
            return
        drives = tuple(DriveSpec(name) for name in tags.drive_names(machine.tags))
        try:
            wanted = successor(self._aws, self._spec.machine, machine)
            self._bring_up(replace(self._spec, machine=wanted, drives=drives))
        except XportalError:
            self._not_before = time.monotonic() + next(self._waits)
            raise
        self._is_up = True
        self._waits = self._pace.waits()

    def _get_machine(self) -> Instance:
        """The portal's machine; else the last one of its own that AWS tells of, or did: it forgets them in an hour."""
        found = self._found = compute.list_instances(self._aws, tags.tag_filter(portal=self._spec.name))
        for machine in sorted(found, key=lambda m: (m.state in LIVE, m.launched)):
            self._order.setdefault(machine.id, len(self._order))
        if found:
            self._last = max(found, key=lambda m: (m.state in LIVE, m.launched, self._order[m.id]))
        elif self._last is None:
            raise not_up(self._aws, self._spec.name)
        elif self._last.state != "terminated":
            self._last = replace(self._last, state="terminated")
        return self._last

    def _drives_of(self, machine: Instance) -> list[Drive]:
        return [observe(self._aws, name) for name in tags.drive_names(machine.tags)]

    def _read(self, machine: Instance, drives: Sequence[Drive]) -> Meter:
        """The meter now, or when the machine was last known to live. What it carries is never far behind, so that a
        watch that comes later counts on from there.
        """
        id_, seen = self._metered
        now = self._aws.now()
        carried = read_meter(machine)
        if carried and carried.since > now + CLOCK_STEPS:  # edited by hand: it would count nothing until then
            carried = None
        told = carried or (seen if id_ == machine.id else None) or self._begin(machine)
        if machine.state in LIVE:
            meter = told.at(now, machine)
            if carried is None or meter.since - told.since > WRITE_EVERY:
                set_tags(self._aws, machine.id, {tags.METER: str(meter)})
        else:
            signs = [told.since, last_sign(machine, drives), seen.since if seen and id_ == machine.id else None]
            meter = told.at(max(sign for sign in signs if sign), machine)
        self._metered = machine.id, meter
        return meter

    def _begin(self, machine: Instance) -> Meter:
        """A machine that is not counted yet is from its launch on, on top of those before it; the first one from now
        on. Before it are those of this watch, or those of an earlier one, back to what a person ended.
        """
        if self._metered[1]:
            return replace(self._metered[1], since=machine.launched)
        for earlier in sorted(self._found, key=lambda m: m.launched, reverse=True):
            if earlier.id == machine.id or earlier.launched > machine.launched:
                continue
            drives = self._drives_of(earlier)
            if earlier.state in LIVE or ending_of(earlier, drives) is not Ending.INTERRUPTION:
                break
            told = read_meter(earlier)
            if told:
                at = max(told.since, last_sign(earlier, drives) or told.since)
                return replace(told.at(at, earlier), since=machine.launched)
        return Meter(0.0, 0.0, self._aws.now())

    def _exceeded(self, meter: Meter, machine: Instance) -> str:
        """Which limit is met; "" if none is."""
        limits = self._limits
        if limits.dollars is not None and machine.state in LIVE and price_of(machine) is None:
            return f"the price of {machine.id}, which --budget would count, is not known"
        if limits.dollars is not None and meter.dollars >= limits.dollars:
            return f"the budget of ${limits.dollars:g} is spent"
        if limits.hours is not None and meter.hours >= limits.hours:
            return f"{limits.hours:g} hours are over"
        if self._spec.machine.max_price is not None and machine.spot and machine.state in LIVE:
            now = catalogue.spot_prices(self._aws, [machine.type]).get((machine.type, machine.zone), 0.0)
            if now > self._spec.machine.max_price:
                return f"{machine.type} in {machine.zone} costs ${now:.4g}/h now"
        return ""

    def _end(self, why: str, machine: Instance, meter: Meter) -> WatchReport:
        """What a `down` of ours leaves half done is finished at the next look, of this watch or of another one."""
        if tags.ENDING not in machine.tags:
            self._story.say(f"{why}: saving and ending {self._spec.name}")
            tag_machine(self._aws, machine.id, {tags.ENDING: why})
            self._last = replace(machine, tags={**machine.tags, tags.ENDING: why})  # should AWS forget it
        return replace(self._report(why, meter), saved=down(self._aws, self._spec.name, self._story, self._agent))

    def _report(self, why: str, meter: Meter) -> WatchReport:
        return WatchReport(self._spec.name, why, len(self._interrupted), meter.dollars, meter.hours)
