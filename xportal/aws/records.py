"""What AWS told, as frozen values: the part of each answer that xportal reads. Sizes in GiB, times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

Tags = Mapping[str, str]

NO_CAPACITY = "Server.InsufficientInstanceCapacity"  # the state reason of an accepted launch that never ran


@dataclass(frozen=True)
class Snapshot:
    """One of this account's EBS snapshots; `volume_id` is the volume it was made of, a copy's its own id."""

    id: str
    volume_id: str
    state: str  # pending, completed, error, recoverable, recovering
    started: datetime
    size_gib: int
    progress: str = ""  # "42%"
    tags: Tags = field(default_factory=dict)
    description: str = ""  # given when it was made; unlike tags nobody can edit it

    @property
    def is_copy(self) -> bool:
        """Whether it is of no volume, but a copy of another snapshot."""
        return self.volume_id == self.id


@dataclass(frozen=True)
class Volume:
    """An EBS volume; `instance_id` and `device` are those of its attachment, None when it is detached."""

    id: str
    state: str  # creating, available, in-use, deleting, error
    size_gib: int
    zone: str
    created: datetime
    snapshot_id: str | None = None
    instance_id: str | None = None
    device: str | None = None
    delete_on_termination: bool = False
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """An EC2 instance."""

    id: str
    state: str  # pending, running, shutting-down, terminated, stopping, stopped
    type: str
    zone: str
    launched: datetime
    image_id: str
    spot: bool = False
    architecture: str = "x86_64"
    public_address: str | None = None
    vpc_id: str | None = None
    profile_arn: str = ""  # of its instance profile
    state_reason: str = ""  # "Server.InsufficientInstanceCapacity"
    state_message: str = ""  # the same in words
    root_device: str = ""
    disks: Tags = field(default_factory=dict)  # device: volume id
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class KeyPair:
    """An EC2 key pair: xportal's lock of a drive, and the machine's login key."""

    id: str
    name: str
    created: datetime
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """An AMI."""

    id: str
    name: str
    architecture: str
    root_device: str


@dataclass(frozen=True)
class InstanceType:
    """What DescribeInstanceTypes says; `gpu_memory_mib` is that of one GPU, `burstable` a type with CPU credits."""

    name: str
    architectures: tuple[str, ...]
    memory_mib: int
    gpus: int = 0
    gpu_memory_mib: int = 0
    spot: bool = True
    vcpus: int = 0
    burstable: bool = False


@dataclass(frozen=True)
class SecurityGroup:
    """A security group; `ssh` has from where tcp/22 is reached, with what is said of each rule."""

    id: str
    ssh: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subnet:
    """A subnet in which a machine can be launched."""

    id: str
    zone: str
    vpc_id: str
