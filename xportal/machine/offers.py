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


# What burstable types do for their price, as a share of each vCPU; the EC2 User Guide, Burstable performance instances.
_BASELINES = {
    "nano": 0.05, "micro": 0.1, "small": 0.2, "medium": 0.2, "large": 0.3, "xlarge": 0.4, "2xlarge": 0.4,
}  # fmt: skip
_ARM_FAMILY = "t4g"
SURPLUS_PRICE, ARM_SURPLUS_PRICE = 0.05, 0.04  # US dollars for a vCPU's hour above that


def surplus_of(instance_type: InstanceType) -> float | None:
    """What AWS bills of a busy burstable machine besides its price, at most: US dollars an hour; None of other types.

    T3, T3a and T4g machines are "unlimited" unless the account says otherwise: they are not slowed down when they are
    busier than their price pays for. In the mode "standard" they would be, from the boot on: they begin without
    credits.
    """
    family, _, size = instance_type.name.partition(".")
    baseline = _BASELINES.get(size)
    if not instance_type.burstable or baseline is None or family == "t2":  # t2 is in the mode "standard"
        return None
    price = ARM_SURPLUS_PRICE if family == _ARM_FAMILY else SURPLUS_PRICE
    return instance_type.vcpus * (1 - baseline) * price


def surplus_text(instance_type: str, dollars: float) -> str:
    """The same as a sentence."""
    return (
        f"{instance_type} is burstable: while its CPUs are busy, AWS bills up to ${dollars:.2g} an hour more, unless "
        "the account's T types are in the mode standard"
    )


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
