"""Faults of real machines: a drive without space, ssh that is cut; and their end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.machines.lab import OPEN_DRIVE, Lab
from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Disk

pytestmark = pytest.mark.machine

MACHINE = "i-0fa17"
DRIVE = Disk("vol-0fa17", "/dev/sdf")


@dataclass(frozen=True)
class Machine:
    """A machine with its drive at /v1, part of which is mounted elsewhere too."""

    lab: Lab
    address: str

    def runs(self, script: str) -> str:
        """What a script prints there."""
        return self.lab.ssh(self.address, script)


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    """With power, for all tests of this file."""
    lab.hardware.create_volume(DRIVE.volume_id, 1, None)
    home = "mkdir -p /v1/home /srv/home && mount --bind /v1/home /srv/home"
    booted = lab.boot(MACHINE, (DRIVE.volume_id,), bootcmd=f"{OPEN_DRIVE}\n{home}")
    machine = Machine(lab, booted.public_ip)
    machine.runs("mountpoint /srv/home")
    yield machine
    lab.hardware.cut_power(MACHINE)


def test_a_full_disk_is_full_for_root_too(machine: Machine) -> None:
    """Not a block is free until the machine is healed; then the file is gone and there is space again."""
    write = "sudo dd if=/dev/zero of=/v1/home/data bs=64k count=1 conv=fsync 2>&1 || true"
    for _ in range(2):  # once more does no harm
        machine.lab.hardware.fill_disk(MACHINE, DRIVE)
    assert "No space left" in machine.runs(write)
    machine.lab.hardware.heal(MACHINE)
    assert "65536 bytes" in machine.runs(write)
    assert ".xportal" not in machine.runs("ls -A /v1 /v1/home")


def test_only_a_mounted_disk_can_be_full(lab: Lab, machine: Machine) -> None:
    """A machine without power, and a drive that is mounted nowhere, are refused."""
    with pytest.raises(HardwareFailure, match="has no power"):
        lab.hardware.fill_disk("i-0", DRIVE)
    spare = Disk("vol-05bae", "/dev/sdg")
    lab.hardware.create_volume(spare.volume_id, 1, None)
    lab.hardware.attach(MACHINE, spare)
    with pytest.raises(HardwareFailure, match="mounted"):
        lab.hardware.fill_disk(MACHINE, spare)
    lab.hardware.heal(MACHINE)
    lab.hardware.detach(MACHINE, spare)


def test_ssh_is_cut_and_comes_back(lab: Lab, machine: Machine) -> None:
    """A session ends at once, new ones fail; the machine goes on; healed, it answers again."""
    session = subprocess.Popen(
        lab.ssh_argv(machine.address, "echo in; touch /tmp/before; sleep 100; echo out"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout
    assert session.stdout.readline() == "in\n"
    for _ in range(2):
        lab.hardware.drop_ssh(MACHINE)
    assert session.communicate(timeout=10)[0] == ""
    assert session.returncode == 255
    assert lab.try_ssh(machine.address, "true", patience_s=1).returncode == 255
    for _ in range(2):
        lab.hardware.heal(MACHINE)
    assert machine.runs("ls /tmp/before") == "/tmp/before"
