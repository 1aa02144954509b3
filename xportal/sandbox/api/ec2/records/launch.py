"""A launch that was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.models.subnets import Subnet
from moto.iam.models import InstanceProfile

from xportal.sandbox.api.ec2.catalogue import TypeInfo
from xportal.sandbox.api.ec2.records.image import Image
from xportal.sandbox.api.ec2.records.volume import VolumeSpec


@dataclass(frozen=True)
class DiskPlan:
    """One volume of the launch and where it goes."""

    device: str
    spec: VolumeSpec
    delete_on_termination: bool
    is_root: bool


@dataclass(frozen=True)
class Launch:
    """A RunInstances request that AWS would accept, capacity aside."""

    image: Image
    type: TypeInfo
    subnet: Subnet
    groups: tuple[SecurityGroup, ...]
    public: bool
    count: int
    disks: tuple[DiskPlan, ...]
    tags: Mapping[str, Mapping[str, str]]
    key_name: str | None
    login_key: str | None
    user_data: Base64EncodedString | None
    spot: Mapping[str, Any] | None  # SpotOptions; None is on demand
    profile: InstanceProfile | None
    metadata_options: Mapping[str, Any]
    shutdown_behaviour: str
    termination_protected: bool
    client_token: str

    @property
    def zone(self) -> str:
        return str(self.subnet.availability_zone)
