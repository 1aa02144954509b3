"""Instances: pending, running, shutting-down, terminated; and their disks with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from moto.core.utils import utcnow

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2 import volumes
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.catalogue import get_software
from xportal.sandbox.api.ec2.errors import ApiError, not_found
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.engine import Engine
from xportal.sandbox.hardware import Boot, Disk

log = logging.getLogger(__name__)

GONE = ("shutting-down", "terminated")

BY_USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
BY_ITSELF = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
BY_SPOT = ("Server.SpotInstanceTermination", "Spot instance termination")
BY_FAILURE = ("Server.InternalError", "Internal error on launch")
BY_KEY = ("Client.InternalError", "Client error on launch")


def all_instances(backend: Ec2Backend) -> list[Instance]:
    """Every instance of the region, those terminated long ago forgotten first, and before that their tags."""
    _forget_old(backend)
    return [cast(Instance, instance) for r in backend.reservations.values() for instance in r.instances]


def _forget_old(backend: Ec2Backend) -> None:
    limit = utcnow() - timedelta(seconds=backend.engine.settings.terminated_seconds)
    untagged = utcnow() - timedelta(seconds=backend.engine.settings.tags_seconds)
    for reservation in list(backend.reservations.values()):
        members = [cast(Instance, instance) for instance in reservation.instances]
        for member in members:
            if member.terminated_at and member.terminated_at < untagged:
                backend.tags.pop(member.id, None)
        if all(member.terminated_at and member.terminated_at < limit for member in members):
            for member in members:
                backend.tags.pop(member.id, None)
                if member.spot:
                    backend.forget(backend.spot_instance_requests, member.spot.id)
            del backend.reservations[reservation.id]


def find_instance(backend: Ec2Backend, instance_id: str) -> Instance | None:
    return next((i for i in all_instances(backend) if i.id == instance_id), None)


def get_instance(backend: Ec2Backend, instance_id: str) -> Instance:
    instance = find_instance(backend, instance_id)
    if instance is None:
        raise not_found("InvalidInstanceID", instance_id)
    return instance


def get_visible(backend: Ec2Backend, ids: Sequence[str]) -> list[Instance]:
    """As Describe sees them: just after a launch the first question about an id finds nothing."""
    chosen = [get_instance(backend, instance_id) for instance_id in ids]
    window = timedelta(seconds=backend.engine.settings.invisible_seconds)
    for instance in chosen:
        unseen, instance.seen = not instance.seen, True
        if unseen and utcnow() - instance.launch_time < window:
            raise not_found("InvalidInstanceID", instance.id)
    return chosen


def boot(backend: Ec2Backend, instance: Instance) -> None:
    """Have the disks made and the power switched on."""
    backend.engine.submit(instance.id, lambda: _boot(backend, instance))


def _boot(backend: Ec2Backend, instance: Instance) -> None:
    hardware = backend.engine.hardware
    info = instance.type_info
    disks = tuple(Disk(a.volume_id, a.device) for a in instance.disks)
    if backend.faults.has_problem("unusable-key") and any(a.volume.encrypted for a in instance.disks):
        with backend.engine.changing():
            discard_new_disks(instance)
            end(backend, instance, "terminated", BY_KEY)
        return
    try:
        for attachment in instance.disks:
            hardware.create_volume(attachment.volume_id, attachment.volume.size, attachment.volume.source)
        addresses = hardware.boot(
            Boot(
                instance_id=instance.id,
                instance_type=info.name,
                image_id=instance.image_id,
                architecture=instance.architecture or info.architectures[0],
                vcpus=info.vcpus,
                memory_mib=info.memory_mib,
                gpu_count=info.gpu_count,
                gpu_name=info.gpu_name,
                gpu_memory_mib=info.gpu_memory_mib,
                disks=disks,
                software=get_software(backend.region_name, instance.image_id),
                instance_store_gb=info.instance_store_gb,
            )
        )
    except HardwareFailure as failure:
        code, message = BY_FAILURE
        cause = "; ".join(filter(None, [failure.message, failure.hint]))
        with backend.engine.changing():
            discard_new_disks(instance)
            end(backend, instance, "terminated", (code, f"{message}: {cause}"))
        raise
    with backend.engine.changing():
        instance.give(addresses)
        for attachment in instance.block_device_mapping.values():
            attachment.status = "attached"
            attachment.volume.state = "in-use"
        if instance.state == "pending":
            instance.become("running")


def discard_new_disks(instance: Instance) -> None:
    """The launch came to nothing, so nobody has written to its disks: they go whatever their settings say."""
    for attachment in instance.block_device_mapping.values():
        attachment.delete_on_termination = True


def terminate(
    backend: Ec2Backend, instance: Instance, *, by_force: bool = False, reason: tuple[str, str] = BY_USER
) -> None:
    """Begin the end: OS shutdown, or the power cut `by_force`; the volumes follow their settings."""
    if instance.state in GONE:
        return
    instance.become("shutting-down", reason)
    _power_down(backend, instance, "terminated", reason, by_force=by_force)


def stop(backend: Ec2Backend, instance: Instance) -> None:
    """Shut an instance down that keeps its disks; a stopped sandbox machine cannot be started again."""
    if instance.lifecycle == "spot":
        raise ApiError(
            "UnsupportedOperation",
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot "
            "Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
        )
    if instance.state not in ("running", "stopped"):
        raise ApiError("IncorrectInstanceState", f"The instance '{instance.id}' is not in a state to be stopped.")
    if instance.state == "running":
        instance.become("stopping", BY_USER)
        _power_down(backend, instance, "stopped", BY_USER)


def _power_down(
    backend: Ec2Backend, instance: Instance, state: str, reason: tuple[str, str], *, by_force: bool = False
) -> None:
    engine = backend.engine

    def work() -> None:
        try:
            _switch_off(engine, instance.id, by_force=by_force)
        finally:
            with engine.changing():
                end(backend, instance, state, reason)

    engine.submit(instance.id, work)


def _switch_off(engine: Engine, instance_id: str, *, by_force: bool) -> None:
    """Shut the OS down; cut the power when that fails, or at once `by_force`: no machine may go on with its drive."""
    if not by_force:
        try:
            engine.hardware.shut_down(instance_id, engine.settings.shutdown_seconds)
            return
        except HardwareFailure:
            log.exception("%s did not shut down: cutting its power", instance_id)
    engine.hardware.cut_power(instance_id)


def powered_off(backend: Ec2Backend, instance: Instance) -> None:
    """The machine switched itself off: what its shutdown behaviour says happens."""
    if instance.state in ("pending", "running"):
        stops = instance.instance_initiated_shutdown_behavior == "stop" and instance.lifecycle != "spot"
        end(backend, instance, "stopped" if stops else "terminated", BY_ITSELF)


def end(backend: Ec2Backend, instance: Instance, state: str, reason: tuple[str, str]) -> None:
    """The power is off: take the final state; when terminated, let go of volumes and addresses."""
    if instance.state == state:
        return
    instance.become(state, reason)
    instance.notice = instance.power_ends_at = None
    if state == "stopped":
        return
    instance.terminated_at = utcnow()
    instance.addresses = None
    release_disks(backend, instance)
    for nic in list(instance.nics.values()):
        nic.delete()
    instance.nics = {}
    instance.security_groups = []
    instance._subnet_id = None  # and the VPC with it
    if instance.spot:
        instance.spot.close()
    association = backend.iam_instance_profile_associations.get(instance.id)
    if association:
        backend.disassociate_iam_instance_profile(association_id=association.association_id)


def release_disks(backend: Ec2Backend, instance: Instance) -> None:
    for attachment in instance.block_device_mapping.values():
        attachment.volume.attachment = None
        if attachment.delete_on_termination:
            volumes.discard(backend, attachment.volume)
        else:
            attachment.volume.state = "available"
    instance.block_device_mapping = {}
