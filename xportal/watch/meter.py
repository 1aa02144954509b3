"""What a watched portal's machines have cost. It rides on the machine as a tag, so that no computer has to remember."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.portal.prices import price_of


@dataclass(frozen=True)
class Meter:
    """US dollars and hours of machines up to `since`, at the price of each one's launch; drives are not counted."""

    dollars: float
    hours: float
    since: datetime

    def at(self, now: datetime, machine: Instance) -> Meter:
        """The meter after `machine` ran until `now`."""
        hours = max(0.0, (now - self.since).total_seconds() / 3600)
        return Meter(self.dollars + hours * (price_of(machine) or 0.0), self.hours + hours, now)

    def __str__(self) -> str:
        return f"{self.dollars:.4f} {self.hours:.4f} {self.since.isoformat()}"


def read_meter(machine: Instance) -> Meter | None:
    """What a machine carries; None if it is not watched yet, or somebody edited that."""
    words = machine.tags.get(tags.METER, "").split()
    if len(words) != 3:
        return None
    dollars, hours, since = foreign.amount(words[0]), foreign.amount(words[1]), foreign.moment(words[2])
    if dollars is None or hours is None or since is None:
        return None
    return Meter(dollars, hours, since)
