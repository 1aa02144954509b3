"""From types, zones and prices to ranked offers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xportal.aws.records import InstanceType, Subnet
from xportal.errors import TooDear, UsageError
from xportal.spec import DEFAULT_ARCHITECTURE, MachineSpec


@dataclass(frozen=True)
class Offer:
    """A type in a zone; `price` in US dollars an hour, None on demand (AWS tells it elsewhere)."""

    type: InstanceType
    subnet: Subnet
    price: float | None

    @property
    def zone(self) -> str:
        """The availability zone's name."""
        return self.subnet.zone

    def __str__(self) -> str:
        price = "on demand" if self.price is None else f"spot ${self.price:.4g}/h"
        return f"{self.type.name} in {self.zone}, {price}"


def rank_offers(
    spec: MachineSpec,
    types: Iterable[InstanceType],
    offered: set[tuple[str, str]],
    prices: Mapping[tuple[str, str], float],
    subnets: Iterable[Subnet],
) -> list[Offer]:
    """Every (type, zone) that can run the spec: spot by price, on demand in the order of `types`.

    Raises UsageError if a type that the user named cannot run the spec, or nothing is left; TooDear if only the price
    stands in the way.
    """
    fit = [t for t in types if _fits(spec, t)]
    by_zone = {subnet.zone: subnet for subnet in subnets}
    offers = [
        Offer(t, by_zone[zone], None if spec.on_demand else prices[t.name, zone])
        for t in fit
        for zone in sorted(by_zone)
        if (t.name, zone) in offered and (spec.on_demand or (t.name, zone) in prices)
    ]
    if not offers:
        raise UsageError("no machine type fits", hint="widen --type, --min-gpu-memory, or choose another --region")
    if spec.on_demand:
        return offers
    within = [o for o in offers if spec.max_price is None or (o.price or 0) <= spec.max_price]
    if not within:
        cheapest = min(o.price or 0 for o in offers)
        raise TooDear(
            f"no spot offer at or below ${spec.max_price:g}/h", hint=f"the cheapest that fits costs ${cheapest:.4g}/h"
        )
    return sorted(within, key=lambda o: (o.price or 0, o.type.name, o.zone))


def _fits(spec: MachineSpec, candidate: InstanceType) -> bool:
    """Whether a type can run the spec; a named type that cannot is an error, a default one is passed over."""
    reason = _misfit(spec, candidate)
    if reason and spec.types:
        raise UsageError(f"{candidate.name} {reason}", hint="choose another --type")
    return not reason


def _misfit(spec: MachineSpec, candidate: InstanceType) -> str:
    architecture = spec.architecture or DEFAULT_ARCHITECTURE
    if architecture not in candidate.architectures:
        return f"is {'/'.join(candidate.architectures)}, not {architecture}"
    if spec.wants_gpu() and not candidate.gpus:
        return "has no GPU"
    if spec.gpu is False and candidate.gpus:
        return "has a GPU"
    if spec.min_gpu_memory_gib is not None and candidate.gpu_memory_mib < spec.min_gpu_memory_gib * 1024:
        return f"has {candidate.gpu_memory_mib / 1024:g} GiB of GPU memory"
    if candidate.memory_mib < spec.min_memory_mib and not spec.types:
        return f"has less than {spec.min_memory_mib / 1024:g} GiB of memory"
    if candidate.gpus < spec.min_gpus:
        return f"has less than {spec.min_gpus} GPUs"
    if not spec.on_demand and not candidate.spot:
        return "is not offered on the spot market"
    return ""
