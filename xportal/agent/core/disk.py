"""The drive's block device: finding it, its first filesystem, growing, mounting."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from .config import DriveConfig, Paths
from .files import read_json, write_json
from .process import AgentError, run, wait_until

DEVICE_SECONDS = 120.0
EBS = re.compile(r"nvme-Amazon_Elastic_Block_Store_vol([0-9a-f]+)(?:_1|-ns-1)?")
OWNER = "1000:1000"
# Spelled out: a newer mke2fs would switch on features with which an older machine cannot repair or grow the drive.
FEATURES = (
    "none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr,"
    "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize"
)


@dataclass(frozen=True)
class Disk:
    """A block device that is surely the drive's. `volume_id` is empty where the hypervisor does not tell it."""

    path: str
    volume_id: str

    @property
    def size_bytes(self) -> int:
        """The device's size."""
        with open(self.path, "rb") as device:
            return device.seek(0, os.SEEK_END)


def get_disk(drive: DriveConfig, paths: Paths, seconds: float = DEVICE_SECONDS) -> Disk:
    """Wait for the drive's device. Raises `AgentError` if it does not come, or is an instance store."""
    disk = wait_until(lambda: find_disk(drive, paths), seconds)
    if disk is None:
        raise AgentError(f"the volume of drive {drive.name} did not appear at {drive.device} within {seconds:.0f} s")
    return disk


def find_disk(drive: DriveConfig, paths: Paths) -> Optional[Disk]:
    """The device asked for, if it is there and udev knows it as an EBS volume (or as a Xen disk of that name)."""
    asked, xen = places(drive, paths)
    if asked.exists():
        path = asked.resolve()
        volume_id = find_volume_id(path, paths)
        if volume_id is not None:
            return Disk(str(path), volume_id)
        if path.name.startswith("nvme") and is_instance_store(path, paths):
            raise AgentError(f"{drive.device} is an instance store ({path}), not the volume of drive {drive.name}")
    return Disk(str(xen), "") if xen.exists() else None


def places(drive: DriveConfig, paths: Paths) -> List[Path]:
    """Where the device may be."""
    return [paths.root / device.lstrip("/") for device in drive.devices]


def is_there(drive: DriveConfig, paths: Paths) -> bool:
    """Whether there is any such device yet."""
    return any(path.exists() for path in places(drive, paths))


def find_volume_id(path: Path, paths: Paths) -> Optional[str]:
    """The EBS volume behind a device, from udev's by-id links."""
    for link in sorted(paths.by_id.glob("nvme-Amazon_Elastic_Block_Store_*")):
        found = EBS.fullmatch(link.name)
        if found and link.resolve() == path:
            return f"vol-{found.group(1)}"
    return None


def is_instance_store(path: Path, paths: Paths) -> bool:
    """Whether udev calls the device an instance store, which AWS erases with the machine."""
    return any(link.resolve() == path for link in paths.by_id.glob("nvme-Amazon_EC2_NVMe_Instance_Storage*"))


def find_signature(disk: Disk) -> Optional[str]:
    """The filesystem's type (or what else is there), None if nothing is. Raises `AgentError` if that cannot be told.

    `blkid -p` exits 2 when it finds nothing, but also when it cannot read: so the device is read first.
    """
    read_ends(disk)
    found = run(["blkid", "-p", "-o", "export", disk.path], check=False)
    if found.status == 2:
        return None
    if found.status:
        raise AgentError(f"blkid could not tell what is on {disk.path} (status {found.status}): {found.err.strip()}")
    facts = dict(line.partition("=")[::2] for line in found.out.splitlines())
    return facts.get("TYPE") or facts.get("PTTYPE") or "something unknown"


def read_ends(disk: Disk) -> None:
    """Read the first and the last MiB. Raises `AgentError` if the device does not give them."""
    mib = 1 << 20
    try:
        with open(disk.path, "rb", buffering=0) as device:
            for offset in (0, max(0, disk.size_bytes - mib)):
                device.seek(offset)
                if not device.read(mib):
                    raise AgentError(f"{disk.path} is empty: it has no size yet")
    except OSError as error:
        raise AgentError(f"{disk.path} cannot be read: {error}") from error


def make_filesystem(drive: DriveConfig, disk: Disk, paths: Paths) -> None:
    """Make the drive's first filesystem. The caller has seen that it is blank (see `needs_filesystem`)."""
    options = f"root_owner={OWNER},lazy_itable_init=1,lazy_journal_init=1"
    run(["mkfs.ext4", "-q", "-m1", "-I256", "-i16384", "-O", FEATURES, "-E", options, disk.path])
    done = read_json(paths.formatted) or []
    write_json(paths.formatted, [*done, key(drive, disk)])


def needs_filesystem(drive: DriveConfig, disk: Disk, paths: Paths) -> bool:
    """True only if the launch made the drive blank, nothing is found on it, and this machine has not formatted it yet.

    Raises `AgentError` if nothing is found where data should be.
    """
    if find_signature(disk) is not None:
        return False
    if not drive.blank:
        raise AgentError(
            f"no filesystem was found on drive {drive.name} ({disk.path}), which is not new: it is left alone"
        )
    if key(drive, disk) in (read_json(paths.formatted) or []):
        raise AgentError(f"the filesystem that was made on drive {drive.name} ({disk.path}) is gone: it is left alone")
    return True


def key(drive: DriveConfig, disk: Disk) -> str:
    """What a drive is remembered by on this machine."""
    return disk.volume_id or drive.name


def check_filesystem(disk: Disk, kind: str, *options: str) -> None:
    """Let e2fsck repair what is safe to repair; raises `AgentError` if that is not enough."""
    if not kind.startswith("ext"):
        return
    checked = run(["e2fsck", "-p", *options, disk.path], check=False)
    if checked.status >= 4:
        raise AgentError(
            f"the filesystem on {disk.path} needs a repair by hand (e2fsck): {(checked.out or checked.err).strip()}"
        )


def mount(disk: Disk, point: str) -> None:
    """Mount the drive, at one of its places.

    Each mount of the device is a mount of its own: what is mounted below one does not appear below the other, as it
    would with a bind mount.
    """
    make_mount_point(Path(point))
    run(["mount", "-o", "noatime", disk.path, point])


def check_mounted(drive: DriveConfig, disk: Disk) -> None:
    """Raises `AgentError` if it is not the drive that is mounted where the drive belongs."""
    for point in (drive.private, drive.mount):
        if os.stat(point).st_dev != os.stat(disk.path).st_rdev:
            raise AgentError(f"something else is mounted at {point}, where drive {drive.name} belongs")


def make_mount_point(path: Path) -> None:
    """An empty directory nobody may enter: with no drive mounted, users' writes fail instead of going to the root disk.

    (Not made immutable: an immutable directory could not be removed with the disk image it is in.)
    """
    path.mkdir(mode=0, parents=True, exist_ok=True)
    path.chmod(0)
    if any(path.iterdir()):
        raise AgentError(f"{path} on the root disk is not empty: nothing is mounted over it")


def grow(drive: DriveConfig, disk: Disk, kind: str) -> None:
    """Let the filesystem of a drive just mounted fill its device. Does nothing if it does.

    The kernel lets only holders of CAP_SYS_RESOURCE grow what is mounted: others grow it unmounted.
    """
    if kind == "xfs":
        run(["xfs_growfs", drive.private])
    elif kind.startswith("ext") and run(["resize2fs", disk.path], check=False).status:
        run(["umount", drive.private])
        check_filesystem(disk, kind, "-f")
        run(["resize2fs", disk.path])
        mount(disk, drive.private)


def tidy_new(drive: DriveConfig) -> None:
    """Remove lost+found from a new drive: e2fsck makes it when it needs it."""
    lost = Path(drive.private, "lost+found")
    if lost.is_dir():
        lost.rmdir()
