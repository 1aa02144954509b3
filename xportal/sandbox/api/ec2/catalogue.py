"""What the sandbox offers: images, their SSM names, instance types and where they are offered.

Types and offerings are AWS's own (moto carries them); images are a small catalogue
with AWS's names, owners and root sizes, and ids of their own in every region.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from xportal.sandbox.hardware import Software

AMAZON_LINUX = "137112412989"
DEEP_LEARNING = "898082745236"


@dataclass(frozen=True)
class ImageKind:
    """One image of the catalogue; `parameters` are the SSM names that lead to it."""

    name: str
    description: str
    owner_id: str
    architecture: str
    root_gib: int
    parameters: tuple[str, ...]
    software: Software
    root_device: str = "/dev/xvda"
    released: str = "2026-10-29T00:00:00.000Z"

    def image_id(self, region: str) -> str:
        return _identifier("ami", region, self.name)

    def snapshot_id(self, region: str) -> str:
        return _identifier("snap", region, self.name)


def _identifier(prefix: str, region: str, name: str) -> str:
    return f"{prefix}-{hashlib.sha256(f'{region}/{name}'.encode()).hexdigest()[:17]}"


def _amazon_linux(architecture: str) -> ImageKind:
    stem = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel"
    return ImageKind(
        name=f"al2023-ami-2023.9.20261029.0-kernel-6.1-{architecture}",
        description=f"Amazon Linux 2023 AMI 2023.9.20261029.0 {architecture} HVM kernel-6.1",
        owner_id=AMAZON_LINUX,
        architecture=architecture,
        root_gib=8,
        parameters=(f"{stem}-default-{architecture}", f"{stem}-6.1-{architecture}"),
        software=Software.AMAZON_LINUX,
    )


def _deep_learning(architecture: str) -> ImageKind:
    arm = "ARM64 " if architecture == "arm64" else ""
    return ImageKind(
        name=f"Deep Learning {arm}Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) 20261029",
        description="Supported EC2 instances: G4dn, G5, G6, Gr6, G6e, P4, P5" if not arm else "Supported: G5g",
        owner_id=DEEP_LEARNING,
        architecture=architecture,
        root_gib=75,
        parameters=(
            f"/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id",
        ),
        software=Software.DEEP_LEARNING,
    )


IMAGES = tuple(make(architecture) for make in (_amazon_linux, _deep_learning) for architecture in ("x86_64", "arm64"))


def ssm_parameters(region: str) -> dict[str, str]:
    """Every public SSM parameter of the region: its name and the image id it holds."""
    return {name: kind.image_id(region) for kind in IMAGES for name in kind.parameters}


def get_software(region: str, image_id: str) -> Software:
    """What is on an image. One that is not in the catalogue counts as plain Amazon Linux."""
    known = {kind.image_id(region): kind.software for kind in IMAGES}
    return known.get(image_id, Software.AMAZON_LINUX)


@dataclass(frozen=True)
class TypeInfo:
    """What matters of an instance type; memory of one GPU in MiB."""

    name: str
    architectures: tuple[str, ...]
    vcpus: int
    memory_mib: int
    gpu_count: int
    gpu_name: str | None
    gpu_memory_mib: int
    markets: tuple[str, ...]  # on-demand, spot, ...
    instance_store_gb: tuple[int, ...] = ()  # one number a disk


def get_type(name: str) -> TypeInfo:
    """KeyError for a type AWS does not have."""
    data: Mapping[str, Any] = INSTANCE_TYPES[name]
    gpus = data.get("GpuInfo", {}).get("Gpus", [])
    return TypeInfo(
        name=name,
        architectures=tuple(data["ProcessorInfo"]["SupportedArchitectures"]),
        vcpus=data["VCpuInfo"]["DefaultVCpus"],
        memory_mib=data["MemoryInfo"]["SizeInMiB"],
        gpu_count=sum(gpu["Count"] for gpu in gpus),
        gpu_name=f"{gpus[0]['Manufacturer']} {gpus[0]['Name']}" if gpus else None,
        gpu_memory_mib=gpus[0].get("MemoryInfo", {}).get("SizeInMiB", 0) if gpus else 0,
        markets=tuple(data["SupportedUsageClasses"]),
        instance_store_gb=tuple(
            disk["SizeInGB"]
            for disk in data.get("InstanceStorageInfo", {}).get("Disks", [])
            for _ in range(disk["Count"])
        ),
    )


@lru_cache(maxsize=64)
def zones_of_types(region: str) -> Mapping[str, tuple[str, ...]]:
    """For each type offered in the region, the zones that have it."""
    zones: dict[str, list[str]] = {}
    for offer in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, []):
        if offer["InstanceType"] in INSTANCE_TYPES:
            zones.setdefault(offer["InstanceType"], []).append(offer["Location"])
    return {name: tuple(sorted(places)) for name, places in zones.items()}
