"""A machine's view of its drives, as device nodes and links in its own /dev."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Disk

_DISK_GROUP = 6  # Debian's `disk`
_NAMESPACES = 16  # more than EC2 attaches to one instance of the types we know


def plug(dev: Path, disk: Disk, loop: Path) -> None:
    """Make the drive's node and the links that a Nitro machine's udev rules make. `dev` is the machine's /dev."""
    _plug(dev, loop, disk.volume_id, _links(dev, disk))


def plug_instance_store(dev: Path, serial: str, loop: Path) -> None:
    """Make an instance store's node. udev gives it no name of a drive, and another model in its id."""
    _plug(dev, loop, serial, [dev / "disk" / "by-id" / f"nvme-Amazon_EC2_NVMe_Instance_Storage_{serial}"])


def _plug(dev: Path, loop: Path, what: str, links: list[Path]) -> None:
    number = os.stat(loop).st_rdev
    name = _free_name(dev)
    node = dev / name
    try:
        os.mknod(node, 0o660 | stat.S_IFBLK, number)
        os.chmod(node, 0o660)
        os.chown(node, 0, _DISK_GROUP)
        (dev / "disk" / "by-id").mkdir(parents=True, exist_ok=True)
        for link in links:
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(node, link.parent))
    except OSError as error:
        raise HardwareFailure(f"cannot plug {what} into the machine: {error}") from error


def unplug(dev: Path, disk: Disk) -> None:
    """Remove the drive's node and links; missing ones are no error."""
    for link in _links(dev, disk):
        if link.is_symlink():
            (link.parent / os.readlink(link)).unlink(missing_ok=True)
            link.unlink()


def _links(dev: Path, disk: Disk) -> list[Path]:
    serial = disk.volume_id.replace("-", "")
    return [
        dev / Path(disk.device).name,
        dev / "disk" / "by-id" / f"nvme-Amazon_Elastic_Block_Store_{serial}",
    ]


def _free_name(dev: Path) -> str:
    for number in range(1, _NAMESPACES + 1):  # nvme0n1 is the root disk
        name = f"nvme{number}n1"
        if not (dev / name).exists():
            return name
    raise HardwareFailure("the machine has no free bay for another drive")
