"""The fake hardware that contract and crash tests stand on."""

from __future__ import annotations

import pytest

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Boot
from xportal.sandbox.hardware.files import GIB, FileHardware


def test_a_copy_keeps_holes_and_bytes(hardware: FileHardware) -> None:
    """A snapshot of a large disk with little in it takes little room and has the bytes in their places."""
    hardware.create_volume("vol-1", 100, None)
    with hardware.volume_path("vol-1").open("r+b") as disk:
        disk.write(b"first")
        disk.seek(50 * GIB)
        disk.write(b"middle")
    hardware.create_snapshot("snap-1", "vol-1")
    hardware.create_volume("vol-2", 200, "snap-1")
    path = hardware.volume_path("vol-2")
    with path.open("rb") as disk:
        assert disk.read(5) == b"first"
        disk.seek(50 * GIB)
        assert disk.read(6) == b"middle"
    assert path.stat().st_size == 200 * GIB
    assert path.stat().st_blocks * 512 < 1_000_000


def test_a_missing_snapshot_is_a_failure(hardware: FileHardware) -> None:
    """Restoring what is not there raises HardwareFailure."""
    with pytest.raises(HardwareFailure):
        hardware.create_volume("vol-1", 1, "snap-gone")


def test_deleting_what_is_gone_is_no_error(hardware: FileHardware) -> None:
    """Deletions and power cuts can be repeated."""
    hardware.delete_volume("vol-1")
    hardware.delete_snapshot("snap-1")
    hardware.cut_power("i-1")
    hardware.shut_down("i-1", 1)


def test_every_machine_has_an_address_of_its_own(hardware: FileHardware) -> None:
    """Addresses differ, and only machines with power are running."""
    boots = [Boot(f"i-{n}", "t3.medium", "ami-1", "x86_64", 2, 4096) for n in range(300)]
    addresses = {hardware.boot(boot) for boot in boots}
    assert len({a.public_ip for a in addresses}) == len({a.private_ip for a in addresses}) == 300
    hardware.cut_power("i-0")
    assert len(hardware.running()) == 299


def test_a_machine_without_an_api_cannot_switch_itself_off(hardware: FileHardware) -> None:
    """power_off needs the cloud that is told of it."""
    with pytest.raises(HardwareFailure):
        hardware.power_off("i-1")
