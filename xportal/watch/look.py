"""Looking at a watched portal. What AWS forgets an hour after a machine's end is remembered; the rest rides on tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from xportal.aws import catalogue, compute, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive.model import ENDING, LIVE, Drive
from xportal.drive.observe import observe
from xportal.portal.endings import Ending, ending_of, last_sign
from xportal.portal.names import not_up
from xportal.watch.meter import Meter, read_meter
from xportal.watch.step import Sight

CLOCK_STEPS = timedelta(minutes=1)  # more than AWS's clock steps back, which its answers tell to the second
WRITE_EVERY = timedelta(minutes=5)  # a machine's meter


class Lookout:
    """Looks at one portal, again and again. Another one, that begins later, goes on from the tags."""

    def __init__(self, aws: Aws, portal: str) -> None:
        self._aws = aws
        self._portal = portal
        self._last: Instance | None = None
        self._metered: tuple[str, Meter | None] = ("", None)  # the last machine, and its meter at the last look
        self._order: dict[str, int] = {}  # of the machines, as they were seen: AWS tells launches to the second only

    def look(self, *, asks_price: bool) -> Sight:
        """The portal now; with `asks_price` also what its spot machine costs now. Raises PortalNotUp."""
        machine = self.machine()
        if machine.state in ENDING and tags.ENDING not in machine.tags:
            return Sight(machine, (), None)
        is_live = machine.state in LIVE
        drives = () if is_live else self._drives_of(machine)
        meter = self._read(machine, drives)
        asked = asks_price and is_live and machine.spot
        return Sight(machine, drives, meter, self._price_now(machine) if asked else None)

    def machine(self) -> Instance:
        """The portal's machine; else the last one of its own that AWS tells of, or did. Raises PortalNotUp if there
        never was one.
        """
        found = self._list()
        for machine in sorted(found, key=lambda m: (m.state in LIVE, m.launched)):
            self._order.setdefault(machine.id, len(self._order))
        if found:
            self._last = max(found, key=lambda m: (m.state in LIVE, m.launched, self._order[m.id]))
        elif self._last is None:
            raise not_up(self._aws, self._portal)
        elif self._last.state != "terminated":
            self._last = replace(self._last, state="terminated")
        return self._last

    def remember(self, machine: Instance) -> None:
        """A machine as it was just changed, should AWS forget it."""
        self._last = machine

    def _list(self) -> list[Instance]:
        return compute.list_instances(self._aws, tags.tag_filter(portal=self._portal))

    def _drives_of(self, machine: Instance) -> tuple[Drive, ...]:
        return tuple(observe(self._aws, name) for name in tags.drive_names(machine.tags))

    def _price_now(self, machine: Instance) -> float:
        return catalogue.spot_prices(self._aws, [machine.type]).get((machine.type, machine.zone), 0.0)

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
        for earlier in sorted(self._list(), key=lambda m: m.launched, reverse=True):
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
