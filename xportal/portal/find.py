"""What belongs to a portal, by its tag."""

from __future__ import annotations

from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.drive.model import LIVE
from xportal.spec import check_name


def find_machine(aws: Aws, name: str) -> Instance | None:
    """The live machine of portal `name`."""
    found = compute.list_instances(aws, tags.tag_filter(portal=check_name("portal", name)))
    return max((m for m in found if m.state in LIVE), key=lambda m: m.launched, default=None)


def drive_volumes(aws: Aws, machine: Instance) -> list[Volume]:
    """The volumes at the devices of the machine's drives."""
    devices = [device_of(machine, name) or "" for name in tags.drive_names(machine.tags)]
    ids = [machine.disks[device] for device in devices if device in machine.disks]
    return storage.list_volumes(aws, [{"Name": "volume-id", "Values": ids}]) if ids else []


def find_drives(aws: Aws, portal: str) -> tuple[str, ...]:
    """The drives that a portal has awake or has left unfinished, by name; the one of its own name if there are none."""
    wanted = tags.tag_filter(portal=portal)
    told = [m.tags for m in compute.list_instances(aws, wanted) if m.state != "terminated"]
    told += [v.tags for v in storage.list_volumes(aws, wanted) if v.state != "deleting"]
    told += [lock.tags for lock in keys.list_key_pairs(aws) if lock.tags.get(tags.PORTAL) == portal]
    return tuple(sorted({name for tag in told for name in tags.drive_names(tag)})) or (portal,)
