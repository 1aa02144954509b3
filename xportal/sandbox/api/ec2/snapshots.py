"""Snapshots: pending for a while, of a size that never changes, and the bytes in the hardware."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from moto.core.utils import utcnow

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError, not_found
from xportal.sandbox.api.ec2.filters import Accessor
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.snapshot import Snapshot
from xportal.sandbox.api.ec2.records.volume import Volume
from xportal.sandbox.api.faults import Fault

FOREVER = 3e9  # seconds: a snapshot that stays pending
PENDING_MAX = 5  # of one volume


FILTERS: Mapping[str, Accessor] = {
    "description": lambda s: s.description,
    "encrypted": lambda s: s.encrypted,
    "owner-alias": lambda s: s.owner_alias,
    "owner-id": lambda s: s.owner_id,
    "progress": lambda s: s.progress,
    "snapshot-id": lambda s: s.id,
    "start-time": lambda s: s.start_time,
    "status": lambda s: s.status,
    "storage-tier": lambda s: s.storage_tier,
    "volume-id": lambda s: s.volume_id,
    "volume-size": lambda s: s.volume_size,
}


def get_snapshot(backend: Ec2Backend, snapshot_id: str) -> Snapshot:
    snapshot = backend.snapshots.get(snapshot_id)
    if not isinstance(snapshot, Snapshot):
        raise not_found("InvalidSnapshot", snapshot_id)
    return snapshot


def get_usable(backend: Ec2Backend, snapshot_id: str) -> Snapshot:
    """A snapshot that a volume can be made from."""
    snapshot = get_snapshot(backend, snapshot_id)
    if snapshot.status != "completed":
        raise ApiError("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")
    return snapshot


def owned_by(backend: Ec2Backend, owners: list[str]) -> list[Snapshot]:
    """Those of the owners named (`self`, `amazon`, account ids); without owners everybody's."""
    everything = list(backend.snapshots.values())
    wanted = {backend.account_id if owner == "self" else owner for owner in owners}
    return [s for s in everything if not wanted or s.owner_id in wanted or s.owner_alias in wanted]


def create_snapshot(backend: Ec2Backend, volume: Volume, description: str, tags: dict[str, str]) -> Snapshot:
    """The point in time is fixed when this returns; `pending` for as long as the settings say."""
    engine = backend.engine

    def copy(made: list[Snapshot]) -> dict[str, int]:
        [snapshot] = made
        return {snapshot.id: engine.call(volume.id, lambda: engine.hardware.create_snapshot(snapshot.id, volume.id))}

    return _create(backend, {volume: tags}, description, copy)[0]


def create_snapshots(
    backend: Ec2Backend, instance: Instance, sources: Mapping[Volume, dict[str, str]], description: str
) -> list[Snapshot]:
    """Snapshots of volumes of an instance, each with its tags, of one point in time: all or none."""
    engine = backend.engine

    def copy(made: list[Snapshot]) -> dict[str, int]:
        with engine.unlocked():
            return engine.hardware.create_snapshots(instance.id, {snapshot.id: snapshot.volume_id for snapshot in made})

    return _create(backend, sources, description, copy)


def _create(
    backend: Ec2Backend,
    sources: Mapping[Volume, dict[str, str]],
    description: str,
    copy: Callable[[list[Snapshot]], dict[str, int]],
) -> list[Snapshot]:
    for volume in sources:
        _check_source(backend, volume)
    made = [_record(backend, volume, description, tags) for volume, tags in sources.items()]
    stored = [snapshot for snapshot in made if snapshot.stored]
    try:
        changed = copy(stored) if stored else {}
    except HardwareFailure as error:
        for snapshot in made:
            backend.forget(backend.snapshots, snapshot.id)
        raise ApiError("InternalError", f"The sandbox could not take the snapshot: {error}", 500) from error
    for snapshot in made:
        snapshot.start_time = made[0].start_time
        _set_fate(snapshot, backend.faults.meet_snapshot(), _seconds(backend, changed.get(snapshot.id, 0)))
    if any(snapshot.outcome == "error" for snapshot in made):
        for snapshot in made:
            snapshot.outcome = "error"
    return made


def _check_source(backend: Ec2Backend, volume: Volume) -> None:
    if volume.state not in ("available", "in-use"):
        raise ApiError("IncorrectState", f"Volume '{volume.id}' is in state '{volume.state}'")
    earlier = [s for s in owned_by(backend, ["self"]) if s.volume_id == volume.id]
    if len([s for s in earlier if s.status == "pending"]) >= PENDING_MAX:
        raise ApiError(
            "ConcurrentSnapshotLimitExceeded",
            f"Maximum allowed in-progress snapshots for a single volume exceeded: {volume.id}",
        )
    recently = utcnow() - timedelta(seconds=backend.engine.settings.snapshot_interval_seconds)
    if any(snapshot.start_time > recently for snapshot in earlier):
        raise ApiError(
            "SnapshotCreationPerVolumeRateExceeded",
            "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing or variable "
            "sleep interval between requests.",
        )


def _record(backend: Ec2Backend, volume: Volume, description: str, tags: dict[str, str]) -> Snapshot:
    snapshot = Snapshot(backend, volume.id, volume.size)
    snapshot.description = description
    snapshot.encrypted = volume.encrypted
    snapshot.kms_key_id = volume.kms_key_id
    snapshot.stored = volume.stored
    backend.snapshots[snapshot.id] = snapshot
    snapshot.add_tags(tags)
    return snapshot


def _seconds(backend: Ec2Backend, changed: int) -> float:
    """How long so many changed bytes are pending."""
    settings = backend.engine.settings
    rate = settings.snapshot_bytes_per_second
    return settings.snapshot_seconds + (changed / rate if rate else 0.0)


def _set_fate(snapshot: Snapshot, fault: Fault | None, seconds: float) -> None:
    """When it completes, if it does."""
    if fault and fault.kind == "snapshot-fail":
        snapshot.outcome = "error"
    elif fault and fault.kind == "snapshot-stuck":
        snapshot.stuck, seconds = True, FOREVER
    elif fault:
        seconds = fault.seconds
    snapshot.completes_at = snapshot.start_time + timedelta(seconds=min(seconds, FOREVER))


def release(backend: Ec2Backend) -> None:
    """Complete what a fault holds pending."""
    for snapshot in owned_by(backend, ["self"]):
        if snapshot.stuck:
            snapshot.stuck, snapshot.completes_at = False, utcnow()
            if snapshot.deletion_asked:
                delete_snapshot(backend, snapshot)


def delete_snapshot(backend: Ec2Backend, snapshot: Snapshot) -> None:
    """At once when completed; a pending one is deleted when it completes, as AWS does it."""
    if snapshot.from_ami:
        raise ApiError(
            "InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {snapshot.from_ami}"
        )
    snapshot.deletion_asked = True
    if snapshot.status == "pending" and snapshot.completes_at is not None:
        left = (snapshot.completes_at - utcnow()).total_seconds()
        backend.engine.later(left, lambda: _remove(backend, snapshot))
        return
    _remove(backend, snapshot)


def resume(backend: Ec2Backend) -> None:
    """After a restart, which no fault survives: drop what never got its bytes, go on with deletions that waited."""
    release(backend)
    for snapshot in owned_by(backend, ["self"]):
        if snapshot.completes_at is None:
            backend.forget(backend.snapshots, snapshot.id)
        elif snapshot.deletion_asked:
            delete_snapshot(backend, snapshot)


def _remove(backend: Ec2Backend, snapshot: Snapshot) -> None:
    if backend.forget(backend.snapshots, snapshot.id) and snapshot.stored:
        backend.engine.submit(snapshot.id, lambda: backend.engine.hardware.delete_snapshot(snapshot.id))
