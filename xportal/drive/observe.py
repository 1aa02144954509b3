"""Observe: one drive, or the names of all, as AWS's tags and states tell. Strictly read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.drive.made import DESCRIBED, described
from xportal.drive.model import LOCK_PREFIX, Drive, lock_name

OF_AN_IMAGE = "Created by CreateImage("  # AWS's own description
# One question for two tags: EC2 joins filters by "and" alone, and has no filter on the values of all tags but for
# machines. The volumes of other drives, which come along, are few: a drive at rest has none.
OF_ANY_DRIVE: list[Any] = [{"Name": "tag-key", "Values": [tags.DRIVE, tags.GENERATION]}]


def observe(aws: Aws, name: str) -> Drive:
    """Everything AWS tells of drive `name` now."""
    machines = {m.id: m for m in compute.list_instances(aws, tags.drive_filter(name))}
    snapshots = _list_snapshots(aws, name)
    volumes = _list_volumes(aws, name, machines, snapshots)
    for volume in volumes:  # attached by hand to a machine that is not the drive's
        if volume.instance_id and volume.instance_id not in machines:
            found = compute.find_instance(aws, volume.instance_id)
            machines |= {found.id: found} if found else {}
    return Drive(
        name=name,
        lock=keys.find_key_pair(aws, lock_name(name)),
        volumes=tuple(volumes),
        snapshots=tuple(snapshots),
        machines=machines,
        now=aws.now(),
    )


def _list_volumes(aws: Aws, name: str, machines: Mapping[str, Instance], snapshots: Sequence[Snapshot]) -> list[Volume]:
    """Those with the drive's tag; whatever its own machines have at its device; and those of ours that lost the tag
    and kept Name and generation, which no root disk has.
    """
    told = [v for v in storage.list_volumes(aws, OF_ANY_DRIVE) if _is_told(v, name)]
    known = {v.id for v in told}
    missing = {m.disks.get(device_of(m, name) or "", "") for m in machines.values()} - known - {""}
    if missing:
        told += storage.list_volumes(aws, [{"Name": "volume-id", "Values": sorted(missing)}])
    own: list[Volume | Snapshot] = [*snapshots, *(v for v in told if tags.drive_names(v.tags) == (name,))]
    found = {copy.tags[tags.LAUNCH] for copy in own if tags.LAUNCH in copy.tags}
    return [v for v in told if _is_drive(v, name, machines, {s.id for s in snapshots}, found)]


def _is_told(volume: Volume, name: str) -> bool:
    told = tags.drive_names(volume.tags)
    ours = tags.OURS in volume.tags and tags.GENERATION in volume.tags
    return name in told or (not told and ours and volume.tags.get(tags.NAME) == name)


def _list_snapshots(aws: Aws, name: str) -> list[Snapshot]:
    """Those with the drive's tag and a generation; those made by hand, by their Name alone; and those of ours that
    lost their tags. What AWS makes with an image is the image's.
    """
    named = storage.list_snapshots(aws, tags.tag_filter(name=name))
    tagged = [s for s in storage.list_snapshots(aws, tags.tag_filter(drive=name)) if _is_generation(s, name)]
    ours = storage.list_snapshots(aws, [{"Name": "description", "Values": [f"{DESCRIBED} {name}, *"]}])
    found = {s.id: s for s in [*named, *tagged, *ours]}
    return [s for s in found.values() if not s.description.startswith(OF_AN_IMAGE)]


def _is_generation(snapshot: Snapshot, name: str) -> bool:
    return snapshot.tags.get(tags.DRIVE) == name and tags.GENERATION in snapshot.tags


def find_strangers(aws: Aws, drive: Drive) -> list[Volume]:
    """Volumes that may hold data of the drive and do not say so: they have its Name, or are made of its newest
    snapshot, and carry no drive's tag. They are nobody's to save or delete.
    """
    found = storage.list_volumes(aws, tags.tag_filter(name=drive.name))
    newest = drive.newest_snapshot()
    if newest:
        found += storage.list_volumes(aws, [{"Name": "snapshot-id", "Values": [newest.id]}])
    known = {v.id for v in drive.volumes}
    strange = {v.id: v for v in found if v.id not in known and tags.DRIVE not in v.tags and v.state != "deleting"}
    return list(strange.values())


def list_drive_names(aws: Aws) -> list[str]:
    """The names of all drives of the account in this region, locked ones without data included."""
    ours: list[Any] = tags.tag_filter(ours="1")
    tagged = [v.tags for v in storage.list_volumes(aws, ours)] + [s.tags for s in storage.list_snapshots(aws, ours)]
    names = {name for told in tagged for name in tags.drive_names(told)}
    untagged = storage.list_snapshots(aws, [{"Name": "description", "Values": [f"{DESCRIBED} *"]}])
    names |= {made.drive for snapshot in untagged if (made := described(snapshot))}
    locks = {k.name.removeprefix(LOCK_PREFIX) for k in keys.list_key_pairs(aws) if k.name.startswith(LOCK_PREFIX)}
    return sorted(names | locks)


def _is_drive(
    volume: Volume, name: str, machines: Mapping[str, Instance], snapshots: Set[str], found: Set[str]
) -> bool:
    """I5: RunInstances tags all disks alike. On the drive's own machines the drive is at its device; attached to any
    other machine, or to none, a volume with its tag is the drive.

    One that was detached before it got a tag of its own, and has that of several drives, is told by its snapshot. If
    it was created blank, nothing tells: then it is taken for each of them, and the user chooses. `found` are the
    launches of which the drive's own volume is known.
    """
    if volume.state == "deleting":
        return False
    machine = machines.get(volume.instance_id or "")
    if machine:
        return volume.device == device_of(machine, name)
    several = len(tags.drive_names(volume.tags)) > 1
    if several and volume.snapshot_id is None:
        return volume.tags.get(tags.LAUNCH) not in found
    return not several or volume.snapshot_id in snapshots
