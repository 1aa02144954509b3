"""EC2 calls on snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from xportal.sandbox.api.ec2 import instances, snapshots, volumes
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import invalid_value
from xportal.sandbox.api.ec2.filters import page, select
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.volume import Volume
from xportal.sandbox.api.ec2.tags import check_tags, tags_of

EXCLUDED_MAX = 40


class SnapshotCalls(Calls):
    def create_snapshot(self) -> ActionResult:
        given, backend = self.given, self.backend
        volume = volumes.get_volume(backend, given["VolumeId"])
        tags = tags_of(given, "snapshot").get("snapshot", {})
        self.error_on_dryrun()
        return ActionResult(snapshots.create_snapshot(backend, volume, given.get("Description", ""), tags))

    def create_snapshots(self) -> ActionResult:
        given, backend = self.given, self.backend
        spec = given["InstanceSpecification"]
        instance = instances.get_instance(backend, spec["InstanceId"])
        chosen = _chosen(instance, spec)
        tags = tags_of(given, "snapshot").get("snapshot", {})
        source = given.get("CopyTagsFromSource")
        if source not in (None, "volume"):
            raise invalid_value(f"Value ({source}) for parameter CopyTagsFromSource is invalid.")
        sources = {v: {**(backend.tags.get(v.id, {}) if source else {}), **tags} for v in chosen}
        for wanted in sources.values():
            check_tags(wanted)
        self.error_on_dryrun()
        made = snapshots.create_snapshots(backend, instance, sources, given.get("Description", ""))
        return ActionResult({"Snapshots": made})

    def delete_snapshot(self) -> ActionResult:
        snapshot = snapshots.get_snapshot(self.backend, self.given["SnapshotId"])
        self.error_on_dryrun()
        snapshots.delete_snapshot(self.backend, snapshot)
        return EmptyResult()

    def describe_snapshots(self) -> ActionResult:
        given, backend = self.given, self.backend
        ids = given.get("SnapshotIds", [])
        found = snapshots.owned_by(backend, given.get("OwnerIds", []))
        if ids:
            asked = {snapshots.get_snapshot(backend, snapshot_id).id for snapshot_id in ids}
            found = [snapshot for snapshot in found if snapshot.id in asked]
        found = select(found, given.get("Filters", []), snapshots.FILTERS)
        shown, token = page(found, given, key=lambda s: s.id, ids="SnapshotIds")
        return ActionResult({"Snapshots": shown, "NextToken": token})


def _chosen(instance: Instance, spec: Mapping[str, Any]) -> list[Volume]:
    """The instance's volumes that an InstanceSpecification asks for."""
    attached = {attachment.volume_id: device for device, attachment in instance.block_device_mapping.items()}
    excluded = spec.get("ExcludeDataVolumeIds", [])
    if len(excluded) > EXCLUDED_MAX:
        raise invalid_value(f"At most {EXCLUDED_MAX} volumes can be excluded")
    for volume_id in excluded:
        if attached.get(volume_id) in (None, instance.root_device_name):
            raise invalid_value(f"The volume '{volume_id}' is no data volume of the instance '{instance.id}'")
    chosen = [
        attachment.volume
        for device, attachment in instance.block_device_mapping.items()
        if attachment.volume_id not in excluded
        and not (spec.get("ExcludeBootVolume") and device == instance.root_device_name)
    ]
    if not chosen:
        raise invalid_value(f"The instance '{instance.id}' has no volumes that are not excluded")
    return chosen
