"""From types, zones and prices to ranked offers."""

from __future__ import annotations

import pytest

from xportal.aws.records import InstanceType, Subnet
from xportal.errors import UsageError
from xportal.machine.offers import rank_offers
from xportal.spec import MachineSpec

SMALL = InstanceType("t3.medium", ("x86_64",), 4096)
TINY = InstanceType("t3.nano", ("x86_64",), 512)
ARM = InstanceType("t4g.medium", ("arm64",), 4096)
T4 = InstanceType("g4dn.xlarge", ("x86_64",), 16384, gpus=1, gpu_memory_mib=16384)
A10 = InstanceType("g5.xlarge", ("x86_64",), 16384, gpus=1, gpu_memory_mib=24576)
TYPES = [SMALL, TINY, ARM, T4, A10]
SUBNETS = [Subnet(f"subnet-{zone}", zone, "vpc-1") for zone in ("a", "b")]
OFFERED = {(t.name, zone) for t in TYPES for zone in ("a", "b", "c")} - {("g4dn.xlarge", "a")}
PRICES = {(t.name, zone): 0.1 * n + (0.05 if zone == "a" else 0) for n, t in enumerate(TYPES) for zone in "abc"}


def ranked(spec: MachineSpec) -> list[tuple[str, str]]:
    """(type, zone) of the offers, best first."""
    return [(o.type.name, o.zone) for o in rank_offers(spec, TYPES, OFFERED, PRICES, SUBNETS)]


def test_cheapest_first() -> None:
    """Spot offers are ranked by price over (type, zone), in zones that have a subnet and the type."""
    assert ranked(MachineSpec(gpu=True)) == [("g4dn.xlarge", "b"), ("g5.xlarge", "b"), ("g5.xlarge", "a")]


def test_cpu_has_no_gpu_and_memory_enough() -> None:
    """A CPU machine has no GPU, the right architecture and at least 4 GiB."""
    assert ranked(MachineSpec(gpu=False)) == [("t3.medium", "b"), ("t3.medium", "a")]
    assert ranked(MachineSpec(gpu=False, architecture="arm64")) == [("t4g.medium", "b"), ("t4g.medium", "a")]


def test_gpu_memory() -> None:
    """`--min-gpu-memory` is of one GPU, in GiB."""
    assert {name for name, _ in ranked(MachineSpec(min_gpu_memory_gib=20))} == {"g5.xlarge"}


def test_max_price() -> None:
    """`--max-price` drops what costs more, and says the cheapest when nothing is left."""
    assert ranked(MachineSpec(gpu=True, max_price=0.41)) == [("g4dn.xlarge", "b"), ("g5.xlarge", "b")]
    with pytest.raises(UsageError) as caught:
        ranked(MachineSpec(gpu=True, max_price=0.01))
    assert "0.3" in caught.value.hint


def test_on_demand_keeps_the_order_of_types() -> None:
    """On demand has no market: the order of preference decides."""
    assert ranked(MachineSpec(gpu=True, on_demand=True))[0] == ("g4dn.xlarge", "b")


@pytest.mark.parametrize(
    "spec",
    [
        MachineSpec(gpu=True, types=("t3.medium",)),
        MachineSpec(gpu=False, types=("g5.xlarge",)),
        MachineSpec(types=("t4g.medium",)),
        MachineSpec(types=("g4dn.xlarge",), min_gpu_memory_gib=20),
    ],
)
def test_a_named_type_that_does_not_fit_is_an_error(spec: MachineSpec) -> None:
    """What the user named is never passed over in silence."""
    with pytest.raises(UsageError):
        rank_offers(spec, [t for t in TYPES if t.name in spec.types], OFFERED, PRICES, SUBNETS)
