"""Observe: one drive, or the names of all, as AWS's tags and states tell. Strictly read-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xportal.aws import compute, keys, storage, tags
from xportal.aws.records import Instance, KeyPair, Volume
from xportal.aws.session import Aws
from xportal.drive.model import DEVICE, LOCK_PREFIX, Drive, lock_name
from xportal.errors import DriveInUse


def observe(aws: Aws, name: str) -> Drive:
    """Everything AWS tells of drive `name` now. Raises DriveInUse if its lock's name is taken by a strange key pair."""
    machines = {m.id: m for m in compute.list_instances(aws, tags.tag_filter(drive=name))}
    volumes = [v for v in storage.list_volumes(aws, tags.tag_filter(drive=name)) if _is_drive(v, machines)]
    for volume in volumes:  # attached by hand to a machine that is not the drive's
        if volume.instance_id and volume.instance_id not in machines:
            found = compute.find_instance(aws, volume.instance_id)
            machines |= {found.id: found} if found else {}
    named = storage.list_snapshots(aws, tags.tag_filter(name=name))  # made by hand: the Name alone
    tagged = [s for s in storage.list_snapshots(aws, tags.tag_filter(drive=name)) if tags.GENERATION in s.tags]
    snapshots = {s.id: s for s in [*named, *tagged]}
    return Drive(
        name=name,
        lock=_find_lock(aws, name),
        volumes=tuple(volumes),
        snapshots=tuple(snapshots.values()),
        machines=machines,
        now=aws.now(),
    )


def _find_lock(aws: Aws, name: str) -> KeyPair | None:
    found = keys.find_key_pair(aws, lock_name(name))
    if found and found.tags.get(tags.OURS) != "1":
        raise DriveInUse(
            f'the key pair {found.name} ({found.id}) is not xportal\'s, and the lock of drive "{name}" has that name',
            hint="rename or delete that key pair in the AWS console, or use another portal name",
        )
    return found


def list_drive_names(aws: Aws) -> list[str]:
    """The names of all drives of the account in this region, locked ones without data included."""
    ours: list[Any] = tags.tag_filter(ours="1")
    tagged = [v.tags for v in storage.list_volumes(aws, ours)] + [s.tags for s in storage.list_snapshots(aws, ours)]
    names = {told[tags.DRIVE] for told in tagged if tags.DRIVE in told}
    locks = {k.name.removeprefix(LOCK_PREFIX) for k in keys.list_key_pairs(aws) if k.name.startswith(LOCK_PREFIX)}
    return sorted(names | locks)


def _is_drive(volume: Volume, machines: Mapping[str, Instance]) -> bool:
    """I5: RunInstances tags the root disk like the drive. On the drive's own machines the drive is at its device;
    attached to any other machine, or to none, a volume with its tag is the drive.
    """
    own = volume.instance_id in machines
    return volume.state != "deleting" and (volume.device == DEVICE if own else True)
