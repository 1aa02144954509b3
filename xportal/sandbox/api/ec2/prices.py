"""Spot prices by type and zone: made up, of the real order, always the same.

A rented vCPU, GiB or GPU costs about the same in every family, so on-demand prices
are sums over the hardware; the spot price is a share of it that type and zone decide.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from xportal.sandbox.api.ec2.catalogue import TypeInfo, get_type

VCPU, GIB = 0.03, 0.0045  # dollars an hour
BURSTABLE_GIB = {"t2": 0.0116, "t3": 0.0104, "t3a": 0.0094, "t4g": 0.0084}
GPU = {
    "T4": 0.334, "T4g": 0.25, "A10G": 0.814, "L4": 0.613, "L40S": 1.66, "V100": 2.7, "A100": 2.0, "H100": 6.0,
    "H200": 7.0, "B200": 12.0, "M60": 0.5, "K80": 0.6, "Radeon Pro V520": 0.19,
}  # fmt: skip
WINDOWS_VCPU = 0.046
PRODUCTS = ("Linux/UNIX", "Windows")


@lru_cache(maxsize=20_000)
def spot_price(instance_type: str, zone: str, product: str = "Linux/UNIX") -> float:
    """Dollars an hour, to four decimals."""
    info = get_type(instance_type)
    share = 0.33 + 0.08 * _fraction(instance_type) + 0.08 * _fraction(f"{instance_type}, {zone}")
    extra = WINDOWS_VCPU * info.vcpus if product == "Windows" else 0.0
    return round(on_demand_price(info) * share + extra, 4)


def on_demand_price(info: TypeInfo) -> float:
    """Dollars an hour for Linux, in the right order of magnitude."""
    family = info.name.split(".")[0]
    gib = info.memory_mib / 1024
    if family in BURSTABLE_GIB:
        return BURSTABLE_GIB[family] * gib
    gpu = GPU.get((info.gpu_name or "").partition(" ")[2], 1.0)
    return _discount(info, family) * (VCPU * info.vcpus + GIB * gib) + gpu * info.gpu_count


def _discount(info: TypeInfo, family: str) -> float:
    if "arm64" in info.architectures:
        return 0.8
    return 0.9 if family.endswith("a") else 1.0  # AMD


def _fraction(text: str) -> float:
    """The same number in [0, 1) for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
