"""Snapshots of several disks of a machine that goes on writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines.lab import Lab, wait_until

pytestmark = pytest.mark.machine

MACHINE = "i-05e70"
VOLUMES = ("vol-05e7f", "vol-05e76")
BETWEEN = tuple(f"vol-05e7b{number}" for number in range(8))  # blank: copying them takes time

# Counts up on the first disk, and, once that is on the disk, on the second one.
COUNT = """\
import os
disks = [os.open(f"/dev/sd{letter}", os.O_RDWR) for letter in "fg"]
number = 0
while True:
    number += 1
    for disk in disks:
        os.pwrite(disk, number.to_bytes(512, "little"), 0)
        os.fsync(disk)
"""


def read_count(disk: Path) -> int:
    with disk.open("rb") as file:
        return int.from_bytes(file.read(512), "little")


def test_a_set_is_of_one_moment(lab: Lab) -> None:
    """The second disk never has a number that the first one has not; the machine counts on afterwards."""
    hardware = lab.hardware
    for volume_id in (*VOLUMES, *BETWEEN):
        hardware.create_volume(volume_id, 1, None)
    address = lab.boot(MACHINE, VOLUMES).public_ip
    lab.ssh(address, f"sudo systemd-run --unit count python3 -c '{COUNT}'")
    first = hardware.disks.volume_path(VOLUMES[0])
    counts = []
    for turn in range(5):
        before = read_count(first)
        wait_until(lambda before=before: read_count(first) > before)  # type: ignore[misc]
        copies = {f"snap-{volume_id}-{turn}": volume_id for volume_id in (VOLUMES[0], *BETWEEN, VOLUMES[1])}
        hardware.create_snapshots(MACHINE, copies)
        counts.append([read_count(hardware.disks.snapshot_path(f"snap-{v}-{turn}")) for v in VOLUMES])
    assert all(second in (first, first - 1) for first, second in counts), counts
    hardware.cut_power(MACHINE)
