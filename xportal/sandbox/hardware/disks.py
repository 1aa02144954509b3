"""Volumes and snapshots: sparse files in a store that can share blocks between files (XFS reflink)."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from xportal.errors import HardwareFailure, NotInstalled
from xportal.sandbox.hardware import loops
from xportal.sandbox.hardware.changed_blocks import count_unshared

GIB = 1024**3
GB = 1000**3  # in which AWS gives the sizes of instance stores
_FICLONE = 0x40049409
_STORE_BYTES = 1024 * GIB  # sparse: takes what is written; drives may claim more


@dataclass(frozen=True)
class Disks:
    """The disks of one sandbox, in `home`: `store.xfs` mounted at `store`."""

    home: Path

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def store_file(self) -> Path:
        return self.home / "store.xfs"

    def volume_path(self, volume_id: str) -> Path:
        return self.store / "volumes" / volume_id

    def snapshot_path(self, snapshot_id: str) -> Path:
        return self.store / "snapshots" / snapshot_id

    # the store

    def open(self) -> None:
        """Make the store if there is none, mount it. Idempotent."""
        if shutil.which("mkfs.xfs") is None:
            raise NotInstalled("mkfs.xfs is missing on this computer", hint="apt-get install xfsprogs")
        self.store.mkdir(parents=True, exist_ok=True)
        if self.is_open():
            return
        if not self.store_file.exists():
            _make_store(self.store_file)
        device = loops.attach(self.store_file)
        try:
            # discard: what is deleted in the store is free again on this computer
            _run(["mount", "-t", "xfs", "-o", "discard,noatime", str(device), str(self.store)])
            self.store.chmod(0o700)
            for kind in ("volumes", "snapshots", "instance-stores"):
                (self.store / kind).mkdir(exist_ok=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release every drive's device, unmount the store. Idempotent."""
        for device in loops.attached_below(self.store).values():
            loops.detach(device)
        if self.is_open():
            _run(["umount", str(self.store)])
        held = loops.find(self.store_file)
        if held:
            loops.let_go(held)

    def is_open(self) -> bool:
        """Whether the store is mounted."""
        return self.store.exists() and os.path.ismount(self.store)

    # volumes and snapshots

    def create_volume(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        """A sparse file, blank or sharing the snapshot's blocks."""
        path = self.volume_path(volume_id)
        try:
            if snapshot_id is None:
                path.touch(mode=0o600)
            else:
                _clone(self.snapshot_path(snapshot_id), path)
            os.truncate(path, size_gib * GIB)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise HardwareFailure(f"cannot make volume {volume_id}: {error}", hint=_space_hint(self.home)) from error

    def resize_volume(self, volume_id: str, size_gib: int) -> None:
        """Grow, also under a running machine."""
        path = self.volume_path(volume_id)
        try:
            if path.stat().st_size < size_gib * GIB:
                os.truncate(path, size_gib * GIB)
        except OSError as error:
            raise HardwareFailure(f"cannot resize volume {volume_id}: {error}") from error
        device = loops.find(path)
        if device:
            loops.refresh_size(device)

    def delete_volume(self, volume_id: str) -> None:
        """Delete; a volume that is gone is no error."""
        self.disconnect(volume_id)
        self.volume_path(volume_id).unlink(missing_ok=True)

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        """Copy the volume as its device has acknowledged it by now. What is only in a machine's memory is not in.

        Direct I/O puts every acknowledged write into the file, and the kernel clones a file in one step.
        What the volume shared with no snapshot before is what changed; its bytes are returned.
        """
        try:
            changed = count_unshared(self.volume_path(volume_id))
            _clone(self.volume_path(volume_id), self.snapshot_path(snapshot_id))
        except OSError as error:
            raise HardwareFailure(f"cannot make snapshot {snapshot_id} of {volume_id}: {error}") from error
        return changed

    def create_snapshots(self, volumes: Mapping[str, str]) -> dict[str, int]:
        """Copy volumes, their ids by the snapshots': all or none. Bytes that changed, by snapshot."""
        changed = {}
        with ExitStack() as undo:
            for snapshot_id, volume_id in volumes.items():
                undo.callback(self.delete_snapshot, snapshot_id)
                changed[snapshot_id] = self.create_snapshot(snapshot_id, volume_id)
            undo.pop_all()
        return changed

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete; a snapshot that is gone is no error."""
        self.snapshot_path(snapshot_id).unlink(missing_ok=True)

    # instance stores: blank disks of one machine, which nobody else ever sees

    def connect_instance_store(self, instance_id: str, number: int, size_gb: int) -> Path:
        """A new blank disk as a block device."""
        path = self._instance_stores / f"{instance_id}-{number}"
        try:
            path.touch(mode=0o600)
            os.truncate(path, size_gb * GB)
        except OSError as error:
            raise HardwareFailure(f"cannot make an instance store of {instance_id}: {error}") from error
        return loops.attach(path)

    def list_instance_stores(self, instance_id: str) -> list[Path]:
        """The files of a machine's instance stores."""
        return sorted(self._instance_stores.glob(f"{instance_id}-*"))

    @property
    def _instance_stores(self) -> Path:
        return self.store / "instance-stores"

    # cables

    def connect(self, volume_id: str) -> Path:
        """The volume as a block device. Idempotent."""
        path = self.volume_path(volume_id)
        if not path.exists():
            raise HardwareFailure(f"volume {volume_id} has no disk in {self.store}")
        return loops.attach(path)

    def disconnect(self, volume_id: str) -> None:
        """Release the volume's device, once no machine has it mounted. Idempotent."""
        device = loops.find(self.volume_path(volume_id))
        if device:
            loops.detach(device)


def _make_store(path: Path) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    os.truncate(unfinished, _STORE_BYTES)
    # A small log: mkfs writes all of it.
    _run(["mkfs.xfs", "-q", "-m", "reflink=1", "-l", "size=64m", str(unfinished)])
    unfinished.rename(path)


def _clone(source: Path, target: Path) -> None:
    """Copy a file by sharing its blocks; on failure there is no target."""
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.ioctl(writer, _FICLONE, reader)
            os.fsync(writer)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _space_hint(home: Path) -> str:
    free = shutil.disk_usage(home).free
    return f"{free // GIB} GiB are free below {home}"


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HardwareFailure(
            f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}",
            hint="the sandbox's disks need root, loop devices and a kernel with XFS",
        )
