"""Observe: one drive, or the names of all, as AWS's tags and states tell. Strictly read-only."""

from __future__ import annotations

from typing import Any

from xportal.aws import compute, keys, storage, tags
from xportal.aws.records import Volume
from xportal.aws.session import Aws
from xportal.drive.model import DEVICE, LOCK_PREFIX, Drive, lock_name


def observe(aws: Aws, name: str) -> Drive:
    """Everything AWS tells of drive `name` now."""
    volumes = [v for v in storage.list_volumes(aws, tags.tag_filter(drive=name)) if _is_drive(v)]
    named = storage.list_snapshots(aws, tags.tag_filter(name=name))  # made by hand: the Name alone
    tagged = storage.list_snapshots(aws, tags.tag_filter(drive=name))
    snapshots = {s.id: s for s in [*named, *tagged]}
    return Drive(
        name=name,
        lock=keys.find_key_pair(aws, lock_name(name)),
        volumes=tuple(volumes),
        snapshots=tuple(snapshots.values()),
        machines={m.id: m for m in compute.list_instances(aws, tags.tag_filter(drive=name))},
        now=aws.now(),
    )


def list_drive_names(aws: Aws) -> list[str]:
    """The names of all drives of the account in this region, locked ones without data included."""
    ours: list[Any] = tags.tag_filter(ours="1")
    tagged = [v.tags for v in storage.list_volumes(aws, ours)] + [s.tags for s in storage.list_snapshots(aws, ours)]
    names = {told[tags.DRIVE] for told in tagged if tags.DRIVE in told}
    locks = {k.name.removeprefix(LOCK_PREFIX) for k in keys.list_key_pairs(aws) if k.name.startswith(LOCK_PREFIX)}
    return sorted(names | locks)


def _is_drive(volume: Volume) -> bool:
    """I5: RunInstances tags the root disk like the drive; the drive is attached at its device, or detached."""
    return volume.state != "deleting" and (volume.device == DEVICE or volume.instance_id is None)
