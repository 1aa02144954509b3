"""`watch`: a portal that AWS interrupts comes up again by itself, within limits that each end in a save."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from xportal.aws import catalogue, compute, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags, tag_machine
from xportal.drive.lifecycle import Agent, Story
from xportal.drive.model import ENDING, LIVE
from xportal.drive.observe import observe
from xportal.errors import (
    DriveForked,
    NoCredentials,
    PortalNotUp,
    Refused,
    SnapshotFailed,
    TooDear,
    UsageError,
    XportalError,
)
from xportal.portal.down import DownReport, down
from xportal.portal.endings import Ending, ending_of
from xportal.portal.metering import Meter, read_meter
from xportal.portal.money import price_of
from xportal.portal.patience import pauses
from xportal.spec import DriveSpec, MachineSpec, PortalSpec

LOOK_SECONDS = 15.0
# Only a person can do something about these; after all others the next look may find things well.
HOPELESS = (DriveForked, SnapshotFailed, NoCredentials, UsageError)


@dataclass(frozen=True)
class Limits:
    """Where the watch ends, with a save, besides the spec's price. Dollars and hours are those of the machines since it
    began.
    """

    dollars: float | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--budget", self.dollars), ("--max-hours", self.hours)):
            if value is not None and value <= 0:
                raise UsageError(f"{option} {value:g} is not possible", hint=f"{option} takes a number above 0")


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks, and before each next try after one that failed."""

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
        story: Story,
        agent: Agent,
        bring_up: Callable[[PortalSpec], object],
        pace: Pace = Pace(),
    ) -> None:
        self._aws = aws
        self._spec = spec
        self._limits = limits
        self._story = story
        self._agent = agent
        self._bring_up = bring_up
        self._pace = pace
        self._last: Instance | None = None
        self._meter: Meter | None = None
        self._interrupted: set[str] = set()
        self._order: dict[str, int] = {}  # of the machines, as they were seen: AWS tells launches to the second only
        self._is_up = True  # whether the last `up`, if there was one, went well

    def run(self) -> WatchReport:
        """Until a limit is met, or somebody ends the portal.

        Raises PortalNotUp if there is nothing to watch, Refused if a limit cannot be told, and what only a person can
        mend; the portal is then left as it is.
        """
        self._check_price(self._get_machine())
        waits = self._pace.waits()
        while True:
            try:
                ended = self._look()
                wait, waits = self._pace.look, self._pace.waits()
            except XportalError as error:
                if isinstance(error, HOPELESS) and not isinstance(error, TooDear):
                    raise
                ended, wait = None, next(waits)
                self._story.warn(f"{error.message}; trying again in {wait:.0f} s")
            if ended:
                return ended
            time.sleep(wait)  # AWS can only be asked again

    def _look(self) -> WatchReport | None:
        """One look, and what is to be done after it; the report if it is the last."""
        machine = self._get_machine()
        if tags.ENDING in machine.tags:  # a `down` of a watch broke off
            return self._end(machine.tags[tags.ENDING], machine, self._read(machine))
        if machine.state in ENDING:
            self._story.update(f"{machine.id} is {machine.state}")
            return None
        is_live = machine.state in LIVE
        meter = self._read(machine)
        drives = [] if is_live else [observe(self._aws, name) for name in tags.drive_names(machine.tags)]
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
        drives = tuple(DriveSpec(name) for name in tags.drive_names(machine.tags))
        self._bring_up(replace(self._spec, machine=self._wanted(machine), drives=drives))
        self._is_up = True

    def _wanted(self, machine: Instance) -> MachineSpec:
        """What the user asked for; who asked for nothing gets the like of what there was."""
        wanted = self._spec.machine
        if wanted.gpu is not None or wanted.types or wanted.min_gpu_memory_gib is not None:
            return wanted
        [known] = catalogue.list_instance_types(self._aws, [machine.type])
        memory = known.gpu_memory_mib / 1024 if known.gpus else None
        return replace(wanted, gpu=known.gpus > 0, min_gpu_memory_gib=memory, on_demand=not machine.spot)

    def _get_machine(self) -> Instance:
        """The portal's machine; else the last one of its own that AWS tells of, or did: it forgets them in an hour."""
        found = compute.list_instances(self._aws, tags.tag_filter(portal=self._spec.name))
        for machine in sorted(found, key=lambda m: (m.state in LIVE, m.launched)):
            self._order.setdefault(machine.id, len(self._order))
        if found:
            self._last = max(found, key=lambda m: (m.state in LIVE, m.launched, self._order[m.id]))
        elif self._last is None:
            raise PortalNotUp(
                f'portal "{self._spec.name}" is not up', hint=f"xportal up {self._spec.name}, then watch it"
            )
        elif self._last.state != "terminated":
            self._last = replace(self._last, state="terminated")
        return self._last

    def _read(self, machine: Instance) -> Meter:
        """The meter now. A machine that is not counted yet is from now on, on top of those before it."""
        now = self._aws.now()
        told = read_meter(machine)
        if told is None:
            told = self._meter.resumed(machine.launched) if self._meter else Meter(0.0, 0.0, now)
            if machine.state in LIVE:
                set_tags(self._aws, machine.id, {tags.METER: str(told)})
        if machine.state not in LIVE and self._meter:
            return self._meter  # it stood still when the machine did
        self._meter = told.at(now, machine)
        return self._meter

    def _check_price(self, machine: Instance) -> None:
        if self._limits.dollars is not None and price_of(machine) is None:
            raise Refused(
                f"{machine.id} is on demand: its price, which --budget would count, is not known",
                hint="--max-hours limits it",
            )

    def _exceeded(self, meter: Meter, machine: Instance) -> str:
        """Which limit is met; "" if none is."""
        limits = self._limits
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
