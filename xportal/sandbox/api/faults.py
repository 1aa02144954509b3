"""Trouble on demand: zones without capacity, for as many launches as asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from xportal.sandbox.api.catalogue import zones_of_types
from xportal.sandbox.api.errors import ApiError


@dataclass
class CapacityFault:
    """Launches of this type, zone and market find no capacity; None stands for any, `count` for how often."""

    type: str | None = None
    zone: str | None = None
    market: str | None = None  # spot | on-demand
    count: int | None = None

    def hits(self, instance_type: str, zone: str, market: str) -> bool:
        return (
            self.count != 0
            and self.type in (None, instance_type)
            and self.zone in (None, zone)
            and self.market in (None, market)
        )


class Faults:
    """The faults in force. Used under the API's lock."""

    def __init__(self) -> None:
        self._capacity: list[CapacityFault] = []

    def add_capacity(self, fault: CapacityFault) -> None:
        self._capacity.append(fault)

    def clear(self) -> None:
        self._capacity.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [{"kind": "capacity", **asdict(fault)} for fault in self._capacity if fault.count != 0]

    def check_capacity(self, region: str, instance_type: str, zone: str, market: str) -> None:
        """Refuse the launch as AWS does, with HTTP 500, when a fault hits it."""
        fault = next((f for f in self._capacity if f.hits(instance_type, zone, market)), None)
        if fault is None:
            return
        if fault.count is not None:
            fault.count -= 1
        if market == "spot":
            message = "There is no Spot capacity available that matches your request."
        else:
            others = ", ".join(z for z in zones_of_types(region).get(instance_type, ()) if z != zone)
            message = (
                f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
                f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
                f"{instance_type} capacity by not specifying an Availability Zone in your request or choosing {others}."
            )
        raise ApiError("InsufficientInstanceCapacity", message, 500)
