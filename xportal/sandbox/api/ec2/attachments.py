"""Volumes into machines and out of them again, while they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.volume import Attachment, Volume
from xportal.sandbox.hardware import Disk


def attach(backend: Ec2Backend, instance: Instance, volume: Volume, device: str) -> Attachment:
    """Begin to attach a volume to a running instance of its zone."""
    _check_attach(instance, volume, device)
    attachment = Attachment(volume, instance, device, False, "attaching", utcnow())
    volume.state, volume.attachment = "in-use", attachment
    instance.block_device_mapping[device] = attachment
    plug(backend, attachment)
    return attachment


def plug(backend: Ec2Backend, attachment: Attachment) -> None:
    """Have the disk put into the machine."""
    instance_id, disk = attachment.instance.id, Disk(attachment.volume.id, attachment.device)

    def work() -> None:
        try:
            backend.engine.hardware.attach(instance_id, disk)
        except HardwareFailure:
            with backend.engine.changing():
                _let_go(attachment)
            raise
        with backend.engine.changing():
            attachment.status = "attached"

    backend.engine.submit(instance_id, work)


def _check_attach(instance: Instance, volume: Volume, device: str) -> None:
    if volume.attachment:
        raise ApiError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.state != "available":
        raise ApiError("IncorrectState", f"Volume '{volume.id}' is not 'available'.")
    if instance.state != "running":
        raise ApiError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        raise ApiError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if device in instance.block_device_mapping:
        raise ApiError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
    if not volume.stored:
        raise ApiError("UnsupportedOperation", "Root volumes of the sandbox are records without bytes")


def detach(backend: Ec2Backend, volume: Volume, params: Mapping[str, Any]) -> Attachment:
    """Begin to detach a volume; the root volume never, while there is an instance."""
    attachment = volume.attachment
    if attachment is None:
        raise ApiError("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    instance = attachment.instance
    if params.get("InstanceId", instance.id) != instance.id or params.get("Device", attachment.device) != (
        attachment.device
    ):
        raise ApiError(
            "InvalidAttachment.NotFound", f"Volume '{volume.id}' is not attached to {params.get('InstanceId')} there"
        )
    if not volume.stored:
        raise ApiError(
            "OperationNotPermitted", f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'"
        )
    attachment.status = "detaching"
    unplug(backend, attachment)
    return attachment


def unplug(backend: Ec2Backend, attachment: Attachment) -> None:
    """Have the disk taken out of the machine."""
    instance_id, disk = attachment.instance.id, Disk(attachment.volume.id, attachment.device)

    def work() -> None:
        backend.engine.hardware.detach(instance_id, disk)
        with backend.engine.changing():
            _let_go(attachment)

    backend.engine.submit(instance_id, work)


def _let_go(attachment: Attachment) -> None:
    attachment.status = "detached"
    attachment.volume.attachment = None
    attachment.volume.state = "available"
    attachment.instance.block_device_mapping.pop(attachment.device, None)
