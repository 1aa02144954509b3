"""The seam between the sandbox's API and what really exists on this computer.

The API decides what should be; a `Hardware` makes it so. `FileHardware` has disks
that are files and machines that are mere records: a fake, for contract and crash
tests (`files`). The real one boots containers (`machines`).

Every `Hardware` call is real I/O, made by the API's worker threads (CreateSnapshot
alone within the request) and never under the API's lock. All raise `HardwareFailure`.
Root volumes are records in the API: no hardware call ever names one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from socket import socket
from typing import Protocol


@dataclass(frozen=True)
class Disk:
    """A volume as a machine sees it; `device` as in the block device mapping, such as /dev/sdf."""

    volume_id: str
    device: str


class Software(str, Enum):
    """What is on a machine's root disk, by its image."""

    AMAZON_LINUX = "amazon-linux"  # no Docker; dnf installs it, and then it is disabled
    DEEP_LEARNING = "deep-learning"  # NVIDIA's programs, Docker enabled, a daemon.json of the image's own


@dataclass(frozen=True)
class Boot:
    """What a machine is switched on with. `disks` exist already; user data comes from `Metadata`."""

    instance_id: str
    instance_type: str
    image_id: str
    architecture: str  # x86_64 | arm64
    vcpus: int
    memory_mib: int
    gpu_count: int = 0
    gpu_name: str | None = None
    gpu_memory_mib: int = 0  # of one GPU
    disks: tuple[Disk, ...] = ()
    software: Software = Software.AMAZON_LINUX
    instance_store_gb: tuple[int, ...] = ()  # blank disks that come and go with the machine's power


@dataclass(frozen=True)
class Addresses:
    """Where a machine is reached: `public_ip` from this computer, `private_ip` from its neighbours."""

    public_ip: str
    private_ip: str


@dataclass(frozen=True)
class Notice:
    """A spot interruption as IMDS tells it: `action` at `time` (UTC)."""

    action: str  # terminate | stop | hibernate
    time: datetime


@dataclass(frozen=True)
class RoleCredentials:
    """The instance role's credentials, as IMDS answers them under iam/security-credentials/<role>.

    `code` is "Success", or why there are none.
    """

    role: str
    profile_arn: str
    access_key_id: str
    secret_access_key: str
    token: str
    last_updated: datetime
    expiration: datetime
    code: str = "Success"


@dataclass(frozen=True)
class Metadata:
    """All that IMDS says to one machine, as of now: ask again for each request.

    `public_ip` and `private_ip` are None until `boot` has returned. `mapping` is
    block-device-mapping (`ami`, `root`, `ebs1` ... to device names).
    """

    instance_id: str
    instance_type: str
    image_id: str
    architecture: str
    region: str
    availability_zone: str
    account_id: str
    reservation_id: str
    launch_time: datetime
    market: str  # instance-life-cycle: spot | on-demand
    public_ip: str | None
    private_ip: str | None
    public_hostname: str
    private_hostname: str
    mac: str
    vpc_id: str
    subnet_id: str
    security_groups: tuple[str, ...]
    key_name: str | None
    public_key: str | None  # OpenSSH line, comment is the key's name
    user_data: bytes | None
    mapping: dict[str, str]
    tags: dict[str, str]  # empty unless InstanceMetadataTags is enabled
    http_endpoint: str  # enabled | disabled
    http_tokens: str  # required | optional
    hop_limit: int
    role: RoleCredentials | None = None
    notice: Notice | None = None
    rebalance: datetime | None = None  # events/recommendations/rebalance noticeTime


class Serving(Protocol):
    """A socket being answered; `close` stops that, idempotent."""

    def close(self) -> None: ...


class Api(Protocol):
    """What the API offers its hardware. Thread-safe; may be called from within any `Hardware` call."""

    @property
    def port(self) -> int:
        """The TCP port of the API on this computer's loopback."""

    def metadata(self, instance_id: str) -> Metadata:
        """What IMDS says to the machine now. KeyError for a machine the API does not know."""

    def powered_off(self, instance_id: str) -> None:
        """Say that a machine stopped by itself, its disks flushed and released. Idempotent."""

    def serve(self, listener: socket) -> Serving:
        """Answer the API on a listening socket inside a machine: to roles alone, and without the admin routes."""


class Hardware(Protocol):
    """Disks and machines. Deleting, shutting down or detaching what is gone already is no error."""

    def connect(self, api: Api) -> None:
        """Called once, by `Cloud.start`, before every other call."""

    def running(self) -> frozenset[str]:
        """Ids of the machines with power now: asked at start, to reconcile with the saved state."""

    def create_volume(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        """Make a disk: blank, or with the snapshot's bytes, grown to `size_gib`."""

    def resize_volume(self, volume_id: str, size_gib: int) -> None:
        """Grow a disk, in use or not."""

    def delete_volume(self, volume_id: str) -> None: ...

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        """Copy a disk; the bytes that changed since the last copy, or since the copy that it was made from.

        Its point in time is fixed when this returns; called within CreateSnapshot, so short.
        """

    def create_snapshots(self, instance_id: str, volumes: Mapping[str, str]) -> dict[str, int]:
        """Copy disks of one machine at one moment, all or none: their ids by the snapshots'; bytes that changed."""

    def delete_snapshot(self, snapshot_id: str) -> None: ...

    def boot(self, boot: Boot) -> Addresses:
        """Switch a machine on; returns when it has power, not when it answers. On failure nothing is left."""

    def shut_down(self, instance_id: str, deadline_s: float) -> None:
        """Shut the OS down, then power off, by force at the deadline; disks are flushed and released.

        `powered_off` may or may not be called for it; both are fine.
        """

    def cut_power(self, instance_id: str) -> None:
        """Power gone: nothing is flushed. Disks are released when this returns."""

    def attach(self, instance_id: str, disk: Disk) -> None: ...

    def detach(self, instance_id: str, disk: Disk) -> None: ...

    def install_login_key(self, instance_id: str, user: str, public_key: str) -> None:
        """EC2 Instance Connect: `public_key` may log in as `user` for 60 seconds."""

    def console(self, instance_id: str) -> str:
        """What the machine has printed on its console, also after it lost power; "" when unknown."""

    def fill_disk(self, instance_id: str, disk: Disk) -> None:
        """A fault: leave no space on a disk that the machine has mounted, by a file in its filesystem."""

    def drop_ssh(self, instance_id: str) -> None:
        """A fault: cut the machine's ssh connections, and every new one until `heal`."""

    def heal(self, instance_id: str) -> None:
        """End what `fill_disk` and `drop_ssh` began. Idempotent."""
