"""The seam between the sandbox's API and what really exists on this computer.

The API decides what should be; a `Hardware` makes it so. `FileHardware` has disks
that are files and machines that are mere records: a fake, for contract and crash
tests. The real one boots containers.

Every `Hardware` call is real I/O, made by the API's worker threads (CreateSnapshot
alone within the request) and never under the API's lock. All raise `HardwareFailure`.
Root volumes are records in the API: no hardware call ever names one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from socket import socket
from typing import BinaryIO, Protocol

from xportal.errors import HardwareFailure

GIB = 1024**3
BLOCK = 4096


@dataclass(frozen=True)
class Disk:
    """A volume as a machine sees it; `device` as in the block device mapping, such as /dev/sdf."""

    volume_id: str
    device: str


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
    """The instance role's credentials, as IMDS answers them under iam/security-credentials/<role>."""

    role: str
    profile_arn: str
    access_key_id: str
    secret_access_key: str
    token: str
    last_updated: datetime
    expiration: datetime


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


@dataclass
class FileHardware:
    """A FAKE with no machines: disks are sparse files, `boot` only hands out addresses.

    `directory` holds `volumes/<id>` and `snapshots/<id>`; tests write to `volume_path`.
    """

    directory: Path
    logins: list[tuple[str, str, str]] = field(default_factory=list)
    machines: dict[str, Boot] = field(default_factory=dict)  # those with power
    cuts: list[str] = field(default_factory=list)  # ids whose power was cut
    harm: dict[str, set[str]] = field(default_factory=dict)  # by machine: ids of its full disks, "ssh" if dropped
    _copied: dict[str, str] = field(default_factory=dict)  # by volume: the last snapshot of it, or its source
    _booted: int = 0
    _api: Api | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for kind in ("volumes", "snapshots"):
            (self.directory / kind).mkdir(parents=True, exist_ok=True)

    def volume_path(self, volume_id: str) -> Path:
        return self.directory / "volumes" / volume_id

    def snapshot_path(self, snapshot_id: str) -> Path:
        return self.directory / "snapshots" / snapshot_id

    def power_off(self, instance_id: str) -> None:
        """Act as a machine whose OS shut down by itself."""
        self.machines.pop(instance_id, None)
        if self._api is None:
            raise HardwareFailure("the fake hardware is not connected to an API")
        self._api.powered_off(instance_id)

    def connect(self, api: Api) -> None:
        self._api = api

    def running(self) -> frozenset[str]:
        return frozenset(self.machines)

    def create_volume(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        path = self.volume_path(volume_id)
        if snapshot_id is None:
            path.touch()
        else:
            _copy_sparse(self.snapshot_path(snapshot_id), path)
            self._copied[volume_id] = snapshot_id
        os.truncate(path, size_gib * GIB)

    def resize_volume(self, volume_id: str, size_gib: int) -> None:
        os.truncate(self.volume_path(volume_id), size_gib * GIB)

    def delete_volume(self, volume_id: str) -> None:
        self.volume_path(volume_id).unlink(missing_ok=True)

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        path = self.snapshot_path(snapshot_id)
        _copy_sparse(self.volume_path(volume_id), path)
        earlier = self.snapshot_path(self._copied.get(volume_id, "none"))
        self._copied[volume_id] = snapshot_id
        return _count_changed(path, earlier)

    def create_snapshots(self, instance_id: str, volumes: Mapping[str, str]) -> dict[str, int]:
        changed = {}
        with ExitStack() as undo:
            for snapshot_id, volume_id in volumes.items():
                undo.callback(self.delete_snapshot, snapshot_id)
                changed[snapshot_id] = self.create_snapshot(snapshot_id, volume_id)
            undo.pop_all()
        return changed

    def delete_snapshot(self, snapshot_id: str) -> None:
        self.snapshot_path(snapshot_id).unlink(missing_ok=True)

    def boot(self, boot: Boot) -> Addresses:
        with self._lock:
            self._booted += 1
            host = f"{self._booted // 250}.{self._booted % 250 + 1}"
        self.machines[boot.instance_id] = boot
        return Addresses(public_ip=f"198.18.{host}", private_ip=f"172.31.{host}")  # 198.18/15: for test networks

    def shut_down(self, instance_id: str, deadline_s: float) -> None:
        self.machines.pop(instance_id, None)

    def cut_power(self, instance_id: str) -> None:
        self.machines.pop(instance_id, None)
        self.cuts.append(instance_id)

    def attach(self, instance_id: str, disk: Disk) -> None:
        pass

    def detach(self, instance_id: str, disk: Disk) -> None:
        pass

    def install_login_key(self, instance_id: str, user: str, public_key: str) -> None:
        self.logins.append((instance_id, user, public_key))

    def console(self, instance_id: str) -> str:
        return f"{instance_id}: no machine, only files\n"

    def fill_disk(self, instance_id: str, disk: Disk) -> None:
        self.harm.setdefault(instance_id, set()).add(disk.volume_id)

    def drop_ssh(self, instance_id: str) -> None:
        self.harm.setdefault(instance_id, set()).add("ssh")

    def heal(self, instance_id: str) -> None:
        self.harm.pop(instance_id, None)


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, holes kept: test drives are tens of GiB with a few bytes in them."""
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            size = os.fstat(reader.fileno()).st_size
            for start, end in _extents(reader.fileno(), size):
                reader.seek(start)
                writer.seek(start)
                writer.write(reader.read(end - start))
            writer.truncate(size)
    except OSError as error:
        raise HardwareFailure(f"cannot copy {source} to {target}: {error}") from error


def _count_changed(path: Path, earlier: Path) -> int:
    """Bytes in blocks with data that are not the same in the earlier file, or all of them if there is none."""
    with path.open("rb") as file, (earlier if earlier.exists() else Path(os.devnull)).open("rb") as other:
        size = os.fstat(file.fileno()).st_size
        blocks = (at for start, end in _extents(file.fileno(), size) for at in range(start, end, BLOCK))
        return sum(BLOCK for at in blocks if _block(file, at) != _block(other, at))


def _block(file: BinaryIO, position: int) -> bytes:
    return os.pread(file.fileno(), BLOCK, position).ljust(BLOCK, b"\0")


def _extents(descriptor: int, size: int) -> Iterable[tuple[int, int]]:
    """The ranges of a file that hold data."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position
