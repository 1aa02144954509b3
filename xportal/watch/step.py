"""What a watch does next, as a pure function of what it has just seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.drive.model import LIVE, Drive
from xportal.portal.endings import Ending, ending_of
from xportal.portal.prices import price_of
from xportal.spec import check_positive
from xportal.watch.meter import Meter


@dataclass(frozen=True)
class Limits:
    """Where the watch ends, with a save. Dollars and hours are those of the machines since it began; the price is that
    of the machine's offer, in US dollars an hour.
    """

    dollars: float | None = None
    hours: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        check_positive("limits.dollars", self.dollars)
        check_positive("limits.hours", self.hours)
        check_positive("limits.price", self.price)


@dataclass(frozen=True)
class Sight:
    """One look at a watched portal: its machine, or the last that it had."""

    machine: Instance
    drives: Sequence[Drive]  # of a machine that is gone: what they tell of its end
    meter: Meter | None  # None while the machine goes away: it is read once that is over
    price: float | None = None  # US dollars an hour on the spot market now; None where nobody asked


# Steps


@dataclass(frozen=True)
class Wait:
    """Look again in a moment."""

    text: str


@dataclass(frozen=True)
class ComeBack:
    """Bring the portal up, or finish that."""


@dataclass(frozen=True)
class End:
    """Save the portal and end it, then the watch."""

    why: str
    meter: Meter


@dataclass(frozen=True)
class Leave:
    """Somebody ended the portal: the watch ends."""

    why: str
    meter: Meter


Step = Wait | ComeBack | End | Leave


def next_step(sight: Sight, limits: Limits, *, is_up: bool) -> Step:
    """The next step. `is_up` tells whether the last `up`, if any, went well."""
    machine, meter = sight.machine, sight.meter
    if meter is None:
        return Wait(f"{machine.id} is {machine.state}")
    if tags.ENDING in machine.tags:  # a `down` of a watch broke off
        return End(machine.tags[tags.ENDING], meter)
    is_live = machine.state in LIVE
    ending = None if is_live else ending_of(machine, sight.drives)
    if ending is Ending.SOMEBODY:
        return Leave(f"somebody ended {machine.id} ({machine.state_reason or 'xportal down'})", meter)
    if ending is Ending.ITSELF:
        return End(f"{machine.id} has shut itself down, as when it is idle", meter)
    why = _exceeded(sight, meter, limits)
    if why:
        return End(why, meter)
    if not is_live or not is_up:
        return ComeBack()
    return Wait(f"{machine.id} runs: ${meter.dollars:.2f}, {meter.hours:.1f} h")


def _exceeded(sight: Sight, meter: Meter, limits: Limits) -> str:
    """Which limit is met; "" if none is."""
    machine = sight.machine
    if limits.dollars is not None and machine.state in LIVE and price_of(machine) is None:
        return f"the price of {machine.id}, which --budget would count, is not known"
    if limits.dollars is not None and meter.dollars >= limits.dollars:
        return f"the budget of ${limits.dollars:g} is spent"
    if limits.hours is not None and meter.hours >= limits.hours:
        return f"{limits.hours:g} hours are over"
    if limits.price is not None and sight.price is not None and sight.price > limits.price:
        return f"{machine.type} in {machine.zone} costs ${sight.price:.4g}/h now"
    return ""
