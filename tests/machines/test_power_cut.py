"""Power cuts on real machines: what was fsynced is whole, what was not is gone, and nothing is left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.machines.lab import MAKE_IMAGE, OPEN_DRIVE, Lab
from xportal.sandbox.hardware import loops

pytestmark = pytest.mark.machine

MEBIBYTE = 1024 * 1024


@contextmanager
def mounted(lab: Lab, volume_id: str, place: Path) -> Iterator[Path]:
    """The drive's filesystem on this computer, as another machine would find it."""
    place.mkdir(exist_ok=True)
    device = lab.hardware.disks.connect(volume_id)
    try:
        subprocess.run(["mount", str(device), str(place)], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)
    finally:
        lab.hardware.disks.disconnect(volume_id)


def open_as(filesystem: str, device: str = "sdf", place: str = "/v1") -> str:
    """A boot command that makes and mounts a drive."""
    return f"mkfs.{filesystem} -q /dev/{device} && mkdir {place} && mount /dev/{device} {place} && chmod 777 {place}"


def test_a_power_cut_loses_what_was_not_fsynced(lab: Lab, tmp_path: Path) -> None:
    """An fsynced record survives whole; a write that was only in memory is empty or absent. On ext4 and on xfs."""
    volumes = ("vol-0bext4", "vol-0bxfs")
    for volume in volumes:
        lab.hardware.create_volume(volume, 1, None)
    opened = f"{open_as('ext4')} && {open_as('xfs', 'sdg', '/v2')}"
    address = lab.boot("i-0bcut", volumes, bootcmd=opened).public_ip
    lab.ssh(
        address,
        "for v in /v1 /v2; do head -c 1M /dev/zero | tr '\\0' s > $v/synced && sync $v/synced; done;"
        "for v in /v1 /v2; do head -c 1M /dev/zero | tr '\\0' u > $v/unsynced; done",
    )
    lab.hardware.cut_power("i-0bcut")
    for volume in volumes:
        assert loops.find(lab.hardware.disks.volume_path(volume)) is None
        with mounted(lab, volume, tmp_path / volume) as place:
            assert (place / "synced").read_bytes() == b"s" * MEBIBYTE
            unsynced = place / "unsynced"
            assert not unsynced.exists() or unsynced.stat().st_size == 0
    assert "i-0bcut" not in lab.api.ended


def test_power_is_cut_while_containers_run_paused_and_frozen(lab: Lab, tmp_path: Path) -> None:
    """Running and paused containers on the drive, the drive's filesystem frozen: nothing keeps the power on."""
    lab.hardware.create_volume("vol-0be", 4, None)
    address = lab.boot("i-0be", ("vol-0be",), bootcmd=OPEN_DRIVE).public_ip
    lab.ssh(
        address,
        MAKE_IMAGE
        + """sudo docker run -d tiny sleep 600
        sudo docker run -d --name paused tiny sleep 600
        sudo docker pause paused
        sudo fsfreeze -f /v1""",
    )
    lab.hardware.cut_power("i-0be")
    assert loops.find(lab.hardware.disks.volume_path("vol-0be")) is None
    with mounted(lab, "vol-0be", tmp_path / "v1") as place:
        assert (place / "docker").is_dir()


def test_a_machine_that_shuts_down_with_its_drive_frozen_releases_it(lab: Lab) -> None:
    """A frozen filesystem outlives its mounts and holds the device: it is thawed from outside."""
    lab.hardware.create_volume("vol-0bf", 1, None)
    address = lab.boot("i-0bf", ("vol-0bf",), bootcmd=open_as("ext4")).public_ip
    lab.ssh(address, "sync; sudo fsfreeze -f /v1")
    lab.hardware.shut_down("i-0bf", 8)
    assert loops.find(lab.hardware.disks.volume_path("vol-0bf")) is None


def test_a_machine_that_does_not_shut_down_loses_power(lab: Lab) -> None:
    """At the deadline the power goes, also for a machine whose shutdown hangs."""
    address = lab.boot("i-0bg").public_ip
    unit = "[Service]\\nExecStart=/bin/sleep infinity\\nExecStop=/bin/sleep infinity\\nTimeoutStopSec=600\\n"
    lab.ssh(address, f"printf '{unit}' | sudo tee /run/systemd/system/slow.service && sudo systemctl start slow")
    lab.hardware.shut_down("i-0bg", 2)
    assert "i-0bg" not in lab.hardware.running()


def test_a_snapshot_is_the_drive_at_one_moment_and_a_shutdown_loses_nothing(lab: Lab, tmp_path: Path) -> None:
    """What was flushed before is in it, what came after is not; a volume made of it grows and is another drive. The
    machine's shutdown writes out what nobody had flushed."""
    lab.hardware.create_volume("vol-0bh", 1, None)
    address = lab.boot("i-0bh", ("vol-0bh",), bootcmd=open_as("ext4")).public_ip
    lab.ssh(address, "echo before > /v1/before; sudo fsfreeze -f /v1; sudo fsfreeze -u /v1")
    lab.hardware.create_snapshot("snap-0bh", "vol-0bh")
    lab.ssh(address, "echo after > /v1/after; sync; head -c 1M /dev/zero | tr '\\0' u > /v1/unsynced")
    lab.hardware.shut_down("i-0bh", 30)
    with mounted(lab, "vol-0bh", tmp_path / "v1") as place:
        assert (place / "unsynced").read_bytes() == b"u" * MEBIBYTE
    lab.hardware.create_volume("vol-0bi", 2, "snap-0bh")
    lab.hardware.delete_snapshot("snap-0bh")
    with mounted(lab, "vol-0bi", tmp_path / "v1") as place:
        assert (place / "before").read_text() == "before\n"
        assert not (place / "after").exists()
    assert lab.hardware.disks.volume_path("vol-0bi").stat().st_size == 2 * 1024**3
