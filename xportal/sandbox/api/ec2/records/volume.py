"""A volume, how it was asked for, and its attachment to an instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance
from moto.ec2.utils import random_volume_id

from xportal.sandbox.api.ec2.records.snapshot import Snapshot


@dataclass(frozen=True)
class VolumeSpec:
    """A volume as asked for, checked and with AWS's defaults filled in."""

    size_gib: int
    volume_type: str
    snapshot: Snapshot | None
    iops: int | None
    throughput: int | None
    encrypted: bool
    kms_key_id: str | None
    initialization_rate: int | None


@dataclass(eq=False)
class Attachment:
    """A volume on an instance; the same record stands in the volume and in the instance's mapping."""

    volume: Volume
    instance: Instance  # as moto declares it: our own class holds attachments, so its module imports this one
    device: str
    delete_on_termination: bool
    status: str  # attaching | attached | detaching
    attach_time: datetime

    @property
    def volume_id(self) -> str:
        return self.volume.id

    @property
    def instance_id(self) -> str:
        return self.instance.id


class Volume(TaggedEC2Resource):
    """`stored`: the hardware has it as a disk (root volumes are records only)."""

    modification: dict[str, Any] | None = None  # the last one; states of before have none

    def __init__(self, backend: EC2Backend, spec: VolumeSpec, zone: str, *, stored: bool = True) -> None:
        self.ec2_backend = backend
        self.id = random_volume_id()
        self.availability_zone = zone
        self.create_time = utcnow()
        self.state = "creating"
        self.size = spec.size_gib
        self.volume_type = spec.volume_type
        self.snapshot_id = spec.snapshot.id if spec.snapshot else ""
        self.iops = spec.iops
        self.throughput = spec.throughput
        self.encrypted = spec.encrypted
        self.kms_key_id = spec.kms_key_id
        self.volume_initialization_rate = spec.initialization_rate
        self.multi_attach_enabled = False
        self.stored = stored
        self.source = spec.snapshot.id if spec.snapshot and spec.snapshot.stored else None
        self.attachment: Attachment | None = None

    @property
    def volume_id(self) -> str:
        return self.id

    @property
    def status(self) -> str:
        return self.state

    @property
    def attachments(self) -> list[Attachment]:
        return [self.attachment] if self.attachment else []
