"""Volumes: creating, available, in-use; made from complete snapshots; attached to one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from moto.core.utils import utcnow

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError, invalid_value, not_found
from xportal.sandbox.api.ec2.filters import Accessor
from xportal.sandbox.api.ec2.records.snapshot import Snapshot
from xportal.sandbox.api.ec2.records.volume import Volume, VolumeSpec
from xportal.sandbox.api.ec2.snapshots import get_usable

SIZES = {"gp2": (1, 16_384), "gp3": (1, 65_536), "io1": (4, 16_384), "io2": (4, 65_536),
         "st1": (125, 16_384), "sc1": (125, 16_384), "standard": (1, 1_024)}  # fmt: skip


def _of_attachment(name: str) -> Accessor:
    return lambda volume: getattr(volume.attachment, name, None)


FILTERS: Mapping[str, Accessor] = {
    "attachment.attach-time": _of_attachment("attach_time"),
    "attachment.delete-on-termination": _of_attachment("delete_on_termination"),
    "attachment.device": _of_attachment("device"),
    "attachment.instance-id": _of_attachment("instance_id"),
    "attachment.status": _of_attachment("status"),
    "availability-zone": lambda v: v.availability_zone,
    "create-time": lambda v: v.create_time,
    "encrypted": lambda v: v.encrypted,
    "multi-attach-enabled": lambda v: v.multi_attach_enabled,
    "size": lambda v: v.size,
    "snapshot-id": lambda v: v.snapshot_id,
    "status": lambda v: v.state,
    "volume-id": lambda v: v.id,
    "volume-type": lambda v: v.volume_type,
}


def _of_modification(key: str) -> Accessor:
    return lambda modification: modification.get(key)


MODIFICATION_FILTERS: Mapping[str, Accessor] = {
    "modification-state": _of_modification("ModificationState"),
    "original-iops": _of_modification("OriginalIops"),
    "original-size": _of_modification("OriginalSize"),
    "original-volume-type": _of_modification("OriginalVolumeType"),
    "start-time": _of_modification("StartTime"),
    "target-iops": _of_modification("TargetIops"),
    "target-size": _of_modification("TargetSize"),
    "target-volume-type": _of_modification("TargetVolumeType"),
    "volume-id": _of_modification("VolumeId"),
}


def get_volume(backend: Ec2Backend, volume_id: str) -> Volume:
    volume = backend.volumes.get(volume_id)
    if not isinstance(volume, Volume):
        raise not_found("InvalidVolume", volume_id)
    return volume


def plan_volume(backend: Ec2Backend, ebs: Mapping[str, Any], *, too_small: str = "InvalidParameterValue") -> VolumeSpec:
    """Check a request for a volume (an Ebs mapping); `too_small` is the code for less than the snapshot's size."""
    snapshot = get_usable(backend, ebs["SnapshotId"]) if ebs.get("SnapshotId") else None
    size = _size(ebs, snapshot, too_small)
    volume_type = ebs.get("VolumeType") or "gp2"
    if volume_type not in SIZES:
        raise invalid_value(f"Invalid volume type: {volume_type}")
    low, high = SIZES[volume_type]
    if not low <= size <= high:
        raise invalid_value(f"Volume of {size}GiB is not valid for {volume_type}: {low} to {high}GiB")
    iops, throughput = _performance(volume_type, size, ebs)
    encrypted = bool(ebs.get("Encrypted")) or bool(snapshot and snapshot.encrypted)
    return VolumeSpec(
        size_gib=size,
        volume_type=volume_type,
        snapshot=snapshot,
        iops=iops,
        throughput=throughput,
        encrypted=encrypted,
        kms_key_id=_key(backend, ebs, snapshot) if encrypted else None,
        initialization_rate=ebs.get("VolumeInitializationRate"),
    )


def _size(ebs: Mapping[str, Any], snapshot: Snapshot | None, too_small: str) -> int:
    asked: int | None = ebs.get("VolumeSize")
    if snapshot is None:
        if asked is None:
            raise ApiError("MissingParameter", "The request must contain the parameter size or snapshotId")
        return asked
    if asked is not None and asked < snapshot.volume_size:
        raise ApiError(
            too_small,
            f"Volume of size {asked}GB is smaller than snapshot '{snapshot.id}', "
            f"expect size >= {snapshot.volume_size}GB",
        )
    return asked or snapshot.volume_size


def _performance(volume_type: str, size: int, ebs: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """IOPS and MiB/s with gp3's defaults and limits."""
    iops, throughput = ebs.get("Iops"), ebs.get("Throughput")
    if throughput and volume_type != "gp3":
        raise ApiError("InvalidParameterCombination", "The parameter Throughput is only valid for gp3 volumes")
    if volume_type == "gp2":
        return max(100, min(16_000, 3 * size)), None
    if volume_type != "gp3":
        return iops, None
    iops, throughput = iops or 3000, throughput or 125
    if not 3000 <= iops <= 80_000 or not 125 <= throughput <= 2000:
        raise invalid_value("gp3 volumes have 3000 to 80000 IOPS and 125 to 2000 MiB/s")
    if throughput > iops * 0.25:
        raise invalid_value("Throughput (MiBps) to iops ratio is too high; maximum is 0.250000 MiBps per iops")
    return iops, throughput


def _key(backend: Ec2Backend, ebs: Mapping[str, Any], snapshot: Snapshot | None) -> str:
    """The KMS key: the one asked for, the snapshot's, or the account's key for EBS."""
    default = uuid5(NAMESPACE_URL, f"{backend.region_name}/aws/ebs")
    return (
        ebs.get("KmsKeyId")
        or (snapshot and snapshot.kms_key_id)
        or f"arn:{backend.partition}:kms:{backend.region_name}:{backend.account_id}:key/{default}"
    )


def create_volume(backend: Ec2Backend, spec: VolumeSpec, zone: str, tags: dict[str, str]) -> Volume:
    """Record a volume and have its disk made; `creating` until that is done."""
    volume = Volume(backend, spec, zone)
    backend.volumes[volume.id] = volume
    volume.add_tags(tags)
    make_disk(backend, volume)
    return volume


def make_disk(backend: Ec2Backend, volume: Volume) -> None:
    backend.engine.submit(volume.id, lambda: _make_disk(backend, volume))


def _make_disk(backend: Ec2Backend, volume: Volume) -> None:
    try:
        backend.engine.hardware.create_volume(volume.id, volume.size, volume.source)
    except HardwareFailure:
        with backend.engine.changing():
            volume.state = "error"
        raise
    with backend.engine.changing():
        volume.state = "available"


def delete_volume(backend: Ec2Backend, volume: Volume) -> None:
    """Have the disk deleted; the record goes with it."""
    if volume.attachment:
        raise ApiError("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.attachment.instance.id}")
    if volume.state in ("creating", "deleting"):
        raise ApiError("IncorrectState", f"Volume '{volume.id}' is in state '{volume.state}'")
    discard(backend, volume)


def discard(backend: Ec2Backend, volume: Volume) -> None:
    volume.state = "deleting"
    backend.engine.submit(volume.id, lambda: _discard(backend, volume))


def _discard(backend: Ec2Backend, volume: Volume) -> None:
    if volume.stored:
        backend.engine.hardware.delete_volume(volume.id)
    with backend.engine.changing():
        backend.forget(backend.volumes, volume.id)


def grow_volume(backend: Ec2Backend, volume: Volume, changes: Mapping[str, Any]) -> dict[str, Any]:
    """ModifyVolume: size only grows; returns the modification record."""
    size = changes.get("Size") or volume.size
    if size < volume.size:
        raise invalid_value(f"New size cannot be smaller than existing size {volume.size}")
    before = (volume.size, volume.volume_type, volume.iops, volume.throughput)
    wanted = {"VolumeSize": size, "VolumeType": changes.get("VolumeType") or volume.volume_type}
    wanted |= {name: changes.get(name) or getattr(volume, name.lower()) for name in ("Iops", "Throughput")}
    if wanted["VolumeType"] != volume.volume_type:
        wanted |= {name: changes.get(name) for name in ("Iops", "Throughput")}
    spec = plan_volume(backend, wanted)
    if volume.stored and size > volume.size:
        backend.engine.call(volume.id, lambda: backend.engine.hardware.resize_volume(volume.id, size))
    volume.size, volume.volume_type = spec.size_gib, spec.volume_type
    volume.iops, volume.throughput = spec.iops, spec.throughput
    names = ("Size", "VolumeType", "Iops", "Throughput")
    after = (volume.size, volume.volume_type, volume.iops, volume.throughput)
    volume.modification = {
        "VolumeId": volume.id,
        "ModificationState": "completed",
        "Progress": 100,
        "StartTime": utcnow(),
        "EndTime": utcnow(),
        **{f"Original{name}": value for name, value in zip(names, before, strict=True)},
        **{f"Target{name}": value for name, value in zip(names, after, strict=True)},
    }
    return volume.modification


def last_modification(volume: Volume) -> dict[str, Any]:
    """The record of a volume's last ModifyVolume. AWS tells of no earlier ones."""
    if volume.modification is None:
        raise ApiError("InvalidVolumeModification.NotFound", f"Modification for volume '{volume.id}' does not exist.")
    return volume.modification
