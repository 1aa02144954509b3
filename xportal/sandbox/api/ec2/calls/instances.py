"""EC2 calls on instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.models.instances import Reservation

from xportal.sandbox.api.ec2 import idempotency, instances
from xportal.sandbox.api.ec2.account import check_account
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.filters import Accessor, page, select
from xportal.sandbox.api.ec2.launch import check_capacity, plan_launch, run
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.launch import Launch


def _of_disks(name: str) -> Accessor:
    return lambda i: [getattr(attachment, name) for attachment in i.block_device_mapping.values()]


FILTERS: Mapping[str, Accessor] = {
    "architecture": lambda i: i.architecture,
    "availability-zone": lambda i: i.availability_zone,
    "block-device-mapping.attach-time": _of_disks("attach_time"),
    "block-device-mapping.delete-on-termination": _of_disks("delete_on_termination"),
    "block-device-mapping.device-name": _of_disks("device"),
    "block-device-mapping.status": _of_disks("status"),
    "block-device-mapping.volume-id": _of_disks("volume_id"),
    "client-token": lambda i: i.client_token,
    "dns-name": lambda i: i.public_dns_name,
    "group-id": lambda i: [group.id for group in i.security_groups],
    "group-name": lambda i: [group.name for group in i.security_groups],
    "iam-instance-profile.arn": lambda i: (i.iam_instance_profile or {}).get("Arn"),
    "image-id": lambda i: i.image_id,
    "instance-id": lambda i: i.id,
    "instance-lifecycle": lambda i: i.lifecycle,
    "instance-state-code": lambda i: i.state_code,
    "instance-state-name": lambda i: i.state,
    "instance-type": lambda i: i.instance_type,
    "instance.group-id": lambda i: [group.id for group in i.security_groups],
    "instance.group-name": lambda i: [group.name for group in i.security_groups],
    "ip-address": lambda i: i.public_ip,
    "key-name": lambda i: i.key_name,
    "launch-time": lambda i: i.launch_time,
    "owner-id": lambda i: i.owner_id,
    "private-dns-name": lambda i: i.private_dns_name,
    "private-ip-address": lambda i: i.private_ip,
    "reservation-id": lambda i: i.reservation_id,
    "root-device-name": lambda i: i.root_device_name,
    "spot-instance-request-id": lambda i: i.spot_instance_request_id,
    "state-reason-code": lambda i: i.state_reason.code,
    "subnet-id": lambda i: i.subnet_id,
    "vpc-id": lambda i: i.vpc_id,
}


class InstanceCalls(Calls):
    def run_instances(self) -> ActionResult:
        given, backend = self.given, self.backend
        made = idempotency.find_earlier(backend.launch_tokens, given)
        if made:
            return ActionResult(self._earlier(made))
        launch = plan_launch(backend, given)
        self.error_on_dryrun()
        check_account(backend, launch)
        check_capacity(backend, launch)
        return ActionResult(self._launched(launch))

    def _launched(self, launch: Launch) -> dict[str, Any]:
        reservation = run(self.backend, launch)
        idempotency.remember(self.backend.launch_tokens, self.given, [i.id for i in reservation.instances])
        return self._reply(reservation)

    def _earlier(self, ids: list[str]) -> dict[str, Any]:
        """The reservation that this token made before, if it still lives."""
        found = [instances.find_instance(self.backend, instance_id) for instance_id in ids]
        living = [instance for instance in found if instance and instance.state not in instances.GONE]
        if not living:
            raise ApiError(
                "IdempotentInstanceTerminated",
                "The client token was used for an instance that has been terminated: use a new one.",
            )
        return self._reply(self.backend.reservations[living[0].reservation_id])

    def _reply(self, reservation: Reservation) -> dict[str, Any]:
        return {
            "ReservationId": reservation.id,
            "OwnerId": reservation.owner_id,
            "Groups": [],
            "Instances": reservation.instances,
        }

    def describe_instances(self) -> ActionResult:
        given, backend = self.given, self.backend
        self.error_on_dryrun()
        ids = given.get("InstanceIds", [])
        found = instances.get_visible(backend, ids) if ids else instances.all_instances(backend)
        found = select(found, given.get("Filters", []), FILTERS)
        shown, token = page(found, given, key=lambda i: i.id, ids="InstanceIds")
        return ActionResult({"Reservations": _reservations(backend.account_id, shown), "NextToken": token})

    def describe_instance_status(self) -> ActionResult:
        given, backend = self.given, self.backend
        ids = given.get("InstanceIds", [])
        found = instances.get_visible(backend, ids) if ids else instances.all_instances(backend)
        if not given.get("IncludeAllInstances"):
            found = [instance for instance in found if instance.state == "running"]
        found = select(found, given.get("Filters", []), FILTERS)
        shown, token = page(found, given, key=lambda i: i.id, ids="InstanceIds")
        return ActionResult({"InstanceStatuses": shown, "NextToken": token})

    def terminate_instances(self) -> ActionResult:
        found = self._asked()
        for instance in found:
            if instance.disable_api_termination:
                raise ApiError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' "
                    "instance attribute and try again.",
                )
        before = {instance.id: _state(instance) for instance in found}
        for instance in found:
            instances.terminate(self.backend, instance, by_force=bool(self.given.get("SkipOsShutdown")))
        return ActionResult({"TerminatingInstances": _changes(found, before)})

    def stop_instances(self) -> ActionResult:
        found = self._asked()
        before = {instance.id: _state(instance) for instance in found}
        for instance in found:
            instances.stop(self.backend, instance)
        return ActionResult({"StoppingInstances": _changes(found, before)})

    def _asked(self) -> list[Instance]:
        """The instances named, all of them or an error."""
        found = [instances.get_instance(self.backend, instance_id) for instance_id in self.given["InstanceIds"]]
        self.error_on_dryrun()
        return found

    def get_console_output(self) -> ActionResult:
        instance = instances.get_instance(self.backend, self.given["InstanceId"])
        self.error_on_dryrun()
        engine = self.backend.engine
        with engine.unlocked():
            text = engine.hardware.console(instance.id)
        output = Base64EncodedString.from_raw_string(text[-64 * 1024 :])
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    def modify_instance_attribute(self) -> ActionResult:
        instance = instances.get_instance(self.backend, self.given["InstanceId"])
        for mapping in self.given.get("BlockDeviceMappings", []):
            if mapping.get("DeviceName") not in instance.block_device_mapping:
                raise ApiError("InvalidInstanceAttributeValue", f"No device is mapped at {mapping.get('DeviceName')}")
        answer: ActionResult = super().modify_instance_attribute()  # type: ignore[misc]
        return answer

    def reset_instance_attribute(self) -> ActionResult:
        return EmptyResult()


def _state(instance: Instance) -> dict[str, Any]:
    return {"Code": instance.state_code, "Name": instance.state}


def _changes(found: list[Instance], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"InstanceId": i.id, "CurrentState": _state(i), "PreviousState": before[i.id]} for i in found]


def _reservations(owner: str, found: list[Instance]) -> list[dict[str, Any]]:
    """The instances under their reservations again."""
    grouped: dict[str, list[Instance]] = {}
    for instance in found:
        grouped.setdefault(instance.reservation_id, []).append(instance)
    return [
        {"ReservationId": reservation, "OwnerId": owner, "Groups": [], "Instances": members}
        for reservation, members in grouped.items()
    ]
