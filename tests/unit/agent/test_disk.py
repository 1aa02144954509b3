"""The drive's device, on real block devices: found for sure, formatted only when new, grown, mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from xportal.agent.core import disk
from xportal.agent.core.config import DriveConfig, Paths
from xportal.agent.core.drives import open_drive
from xportal.agent.core.events import Log
from xportal.agent.core.mounts import try_unmount
from xportal.agent.core.process import AgentError

pytestmark = pytest.mark.machine


class Machine:
    """A root directory with udev's links to real devices, a drive to be mounted below it, a log."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.log = Log(root / "boot.jsonl")
        self.drive = DriveConfig("demo", 1, mount=str(root / "v1"), blank=True)
        self.paths.by_id.mkdir(parents=True)

    def plug(self, device: str, by_id: str = "nvme-Amazon_Elastic_Block_Store_vol0123", name: str = "sdf") -> None:
        """Let udev name a device."""
        for link in (self.paths.root / "dev" / name, self.paths.by_id / by_id):
            link.unlink(missing_ok=True)
            link.symlink_to(device)

    def open(self, **changes: object) -> dict[str, object]:
        """Open the drive as a boot does."""
        return open_drive(replace(self.drive, **changes), self.paths, self.log)  # type: ignore[arg-type]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing plugged in."""
    return Machine(tmp_path / "root")


def test_a_new_drive_gets_a_filesystem_of_the_login_user(machine: Machine, make_device: Callable[[int], str]) -> None:
    """Formatted and mounted, owned by uid 1000, with nothing but covers in it; its volume known from udev's name."""
    device = make_device(64)
    machine.plug(device)
    facts = machine.open()
    assert facts["volume_id"] == "vol-0123"
    assert facts["device"] == device
    mount = Path(machine.drive.mount)
    assert os.stat(mount).st_dev == os.stat(device).st_rdev
    assert (mount.stat().st_uid, mount.stat().st_gid) == (1000, 1000)
    assert sorted(entry.name for entry in mount.iterdir()) == [".xportal", "docker", "home"]
    features = subprocess.run(["dumpe2fs", "-h", device], capture_output=True, text=True, check=True).stdout
    assert "orphan_file" not in features
    assert "metadata_csum_seed" not in features


def test_opening_again_changes_nothing(machine: Machine, make_device: Callable[[int], str]) -> None:
    """While it is mounted, and after a reboot, with the launch still saying blank: the data stay."""
    machine.plug(make_device(64))
    machine.open()
    (Path(machine.drive.mount) / "data").write_text("mine")
    machine.open()
    assert try_unmount(str((machine.paths.root / "dev/sdf").resolve()))
    machine.open()
    assert (Path(machine.drive.mount) / "data").read_text() == "mine"


def test_a_drive_that_is_not_new_is_never_formatted(machine: Machine, make_device: Callable[[int], str]) -> None:
    """I4: nothing found on a restored drive is an error, not an invitation."""
    device = make_device(8)
    machine.plug(device)
    with pytest.raises(AgentError, match="left alone"):
        machine.open(blank=False)
    assert Path(device).read_bytes() == bytes(8 << 20)


def test_a_filesystem_that_vanished_is_not_made_again(machine: Machine, make_device: Callable[[int], str]) -> None:
    """I4: blank says the launch, at every boot; formatted by this machine once is never formatted again."""
    device = make_device(8)
    machine.plug(device)
    machine.open()
    assert try_unmount(device)
    subprocess.run(["wipefs", "-aq", device], check=True)
    with pytest.raises(AgentError, match="gone"):
        machine.open()


@pytest.mark.parametrize("tool", [["mkfs.ext4", "-q"], ["mkfs.xfs", "-q"], ["mkswap"]])
def test_whatever_blkid_finds_is_kept(machine: Machine, make_device: Callable[[int], str], tool: list[str]) -> None:
    """I4: a signature of anything on a drive that should be blank keeps mkfs away."""
    device = make_device(320)
    machine.plug(device)
    subprocess.run([*tool, device], check=True, capture_output=True)
    assert not disk.needs_filesystem(machine.drive, disk.Disk(device, "vol-0123"), machine.paths)


def test_a_device_that_cannot_be_read_is_not_blank(machine: Machine, tmp_path: Path) -> None:
    """I4: blkid exits 2 for what it cannot read as well (tried); that is no proof of emptiness."""
    missing = disk.Disk(str(tmp_path / "nothing"), "vol-0123")
    assert subprocess.run(["blkid", "-p", missing.path], capture_output=True, check=False).returncode == 2
    with pytest.raises(AgentError, match="cannot be read"):
        disk.needs_filesystem(machine.drive, missing, machine.paths)
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(AgentError, match="no size"):
        disk.needs_filesystem(machine.drive, disk.Disk(str(empty), "vol-0123"), machine.paths)


def test_the_filesystem_grows_with_its_volume(machine: Machine, make_device: Callable[[int], str]) -> None:
    """A volume made larger than its snapshot is used whole at the next open."""
    device = make_device(64)
    machine.plug(device)
    machine.open()
    before = os.statvfs(machine.drive.mount).f_blocks
    assert try_unmount(device)
    backing = subprocess.run(["losetup", "-nO", "BACK-FILE", device], capture_output=True, text=True, check=True)
    os.truncate(backing.stdout.strip(), 256 << 20)
    subprocess.run(["losetup", "--set-capacity", device], check=True)
    machine.open()
    assert os.statvfs(machine.drive.mount).f_blocks > 3 * before


def test_an_instance_store_is_never_taken(machine: Machine, make_device: Callable[[int], str]) -> None:
    """A scratch disk that sits at the drive's name is not the drive, blank as it is."""
    machine.plug(make_device(8), by_id="nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1")
    assert disk.find_disk(machine.drive, machine.paths) is None
    with pytest.raises(AgentError, match="did not appear"):
        disk.get_disk(machine.drive, machine.paths, seconds=0.3)


def test_a_name_of_another_volume_s_partition_is_no_volume(machine: Machine, make_device: Callable[[int], str]) -> None:
    """udev's links to partitions are not volumes."""
    device = make_device(8)
    machine.plug(device, by_id="nvme-Amazon_Elastic_Block_Store_vol0123-part1")
    assert disk.find_volume_id(Path(device), machine.paths) is None


def test_another_disk_in_the_drive_s_place_is_an_error(machine: Machine, make_device: Callable[[int], str]) -> None:
    """What is mounted at the mount point must be the drive."""
    machine.plug(make_device(64))
    machine.open()
    machine.plug(make_device(64))
    with pytest.raises(AgentError, match="something else"):
        machine.open()


def test_nothing_is_mounted_over_files(machine: Machine, make_device: Callable[[int], str]) -> None:
    """A mount point that is not empty means that something wrote to the root disk: said, not hidden."""
    machine.plug(make_device(8))
    mount = Path(machine.drive.mount)
    mount.mkdir()
    (mount / "lost").touch()
    with pytest.raises(AgentError, match="not empty"):
        machine.open()


def test_nobody_enters_the_mount_point_without_the_drive(machine: Machine, make_device: Callable[[int], str]) -> None:
    """With no drive mounted the login user's writes fail, instead of going to the root disk."""
    machine.plug(make_device(8))
    mount = Path(machine.drive.mount)
    mount.mkdir(mode=0o755)
    machine.open()
    assert try_unmount(str((machine.paths.root / "dev/sdf").resolve()))
    assert mount.stat().st_mode & 0o777 == 0


def test_a_damaged_filesystem_is_not_mounted(machine: Machine, make_device: Callable[[int], str]) -> None:
    """What e2fsck would not repair by itself is left for a person to decide."""
    device = make_device(64)
    machine.plug(device)
    machine.open()
    assert try_unmount(device)
    damage = ["debugfs", "-w", "-R", "clri <2>", device]
    subprocess.run(damage, check=True, capture_output=True)
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", device], check=True, capture_output=True)
    with pytest.raises(AgentError, match="repair by hand"):
        machine.open(blank=False)


def test_what_an_agent_of_before_has_mounted_is_covered(machine: Machine, make_device: Callable[[int], str]) -> None:
    """Its drive is at the mount point alone; until it is opened again that is where the agent's own files are."""
    device = make_device(64)
    machine.plug(device)
    machine.open()
    shown = Path(machine.drive.mount)
    assert try_unmount(device)
    subprocess.run(["mount", device, shown], check=True)
    (shown / "home/ec2-user").mkdir()
    (shown / ".xportal/file").touch()
    assert machine.drive.directory == shown / ".xportal"
    machine.open(blank=False)
    assert machine.drive.directory == Path(machine.drive.private, ".xportal")
    assert not (shown / ".xportal/file").exists()
    assert os.readlink(shown / "home/ec2-user") == f"{machine.drive.private}/home/ec2-user"


def test_a_cover_that_was_cut_off_is_completed(machine: Machine, make_device: Callable[[int], str]) -> None:
    """The agent was killed before the cover had its links, and could be written to."""
    machine.plug(make_device(64))
    machine.open()
    cover = Path(machine.drive.mount, "docker")
    subprocess.run(["umount", cover], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "xportal", cover], check=True)
    (cover / "writable").touch()
    machine.open()
    assert os.readlink(cover / "volumes") == f"{machine.drive.private}/docker/volumes"
    with pytest.raises(OSError, match="Read-only"):
        (cover / "more").touch()
    assert try_unmount(str((machine.paths.root / "dev/sdf").resolve()))
