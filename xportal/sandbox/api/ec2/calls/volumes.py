"""EC2 calls on volumes."""

from __future__ import annotations

from moto.core.responses import ActionResult, EmptyResult

from xportal.sandbox.api.ec2 import attachments, idempotency, instances, volumes
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.filters import page, select
from xportal.sandbox.api.ec2.records.volume import Volume
from xportal.sandbox.api.ec2.tags import tags_of


class VolumeCalls(Calls):
    def create_volume(self) -> ActionResult:
        given, backend = self.given, self.backend
        made = idempotency.find_earlier(backend.volume_tokens, given)
        if made:
            return ActionResult(volumes.get_volume(backend, made[0]))
        zones = [zone.name for zone in backend.describe_availability_zones()]
        if given.get("AvailabilityZone") not in zones:
            raise ApiError("InvalidZone.NotFound", f"The zone '{given.get('AvailabilityZone')}' does not exist.")
        spec = volumes.plan_volume(backend, {**given, "VolumeSize": given.get("Size")})
        tags = tags_of(given, "volume").get("volume", {})
        self.error_on_dryrun()
        volume = volumes.create_volume(backend, spec, given["AvailabilityZone"], tags)
        idempotency.remember(backend.volume_tokens, given, [volume.id])
        return ActionResult(volume)

    def delete_volume(self) -> ActionResult:
        volume = volumes.get_volume(self.backend, self.given["VolumeId"])
        self.error_on_dryrun()
        volumes.delete_volume(self.backend, volume)
        return EmptyResult()

    def describe_volumes(self) -> ActionResult:
        given, backend = self.given, self.backend
        ids = given.get("VolumeIds", [])
        found = [volumes.get_volume(backend, v) for v in ids] if ids else list(backend.volumes.values())
        found = select(found, given.get("Filters", []), volumes.FILTERS)
        shown, token = page(found, given, key=lambda v: v.id, ids="VolumeIds")
        return ActionResult({"Volumes": shown, "NextToken": token})

    def modify_volume(self) -> ActionResult:
        volume = volumes.get_volume(self.backend, self.given["VolumeId"])
        self.error_on_dryrun()
        return ActionResult({"VolumeModification": volumes.grow_volume(self.backend, volume, self.given)})

    def describe_volumes_modifications(self) -> ActionResult:
        given, backend = self.given, self.backend
        ids = given.get("VolumeIds", [])
        asked = [volumes.get_volume(backend, v) for v in ids]
        there = asked or [v for v in backend.volumes.values() if isinstance(v, Volume) and v.modification]
        found = [volumes.last_modification(volume) for volume in there]
        found = select(found, given.get("Filters", []), volumes.MODIFICATION_FILTERS)
        shown, token = page(found, given, key=lambda m: m["VolumeId"], ids="VolumeIds")
        return ActionResult({"VolumesModifications": shown, "NextToken": token})

    def attach_volume(self) -> ActionResult:
        given, backend = self.given, self.backend
        volume = volumes.get_volume(backend, given["VolumeId"])
        instance = instances.get_instance(backend, given["InstanceId"])
        self.error_on_dryrun()
        return ActionResult(attachments.attach(backend, instance, volume, given["Device"]))

    def detach_volume(self) -> ActionResult:
        volume = volumes.get_volume(self.backend, self.given["VolumeId"])
        self.error_on_dryrun()
        return ActionResult(attachments.detach(self.backend, volume, self.given))
