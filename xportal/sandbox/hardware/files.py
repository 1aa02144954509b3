"""A FAKE of the hardware: volumes and snapshots are files, machines are names. For tests without Docker and root."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Addresses, Api, Boot, Disk

GIB = 1024**3
BLOCK = 4096


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
