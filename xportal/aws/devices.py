"""Where a machine has its drives."""

from __future__ import annotations

from xportal.aws import tags
from xportal.aws.records import Instance

# Where a machine's drives are attached, in order (EC2 User Guide, device names); what is elsewhere is no drive.
DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
DEVICE = DEVICES[0]


def shows_its_disks(machine: Instance) -> bool:
    """Whether AWS shows all disks that a machine was launched with: when it begins to run some may still be missing."""
    ordered = () if tags.AWAITS in machine.tags else tags.drive_places(machine.tags).values()
    return all(device in machine.disks for device in [machine.root_device, *(DEVICES[place] for place in ordered)])


def device_of(machine: Instance, drive: str) -> str | None:
    """Where a machine has one of its drives; None if it is not its own."""
    place = tags.drive_places(machine.tags).get(drive)
    return None if place is None else DEVICES[place]
