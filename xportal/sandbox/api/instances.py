"""Instances: pending, running, shutting-down, terminated; and their disks with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from moto.core.utils import utcnow
from moto.ec2.models import instances as moto_instances

from xportal.errors import HardwareFailure
from xportal.sandbox.api import volumes
from xportal.sandbox.api.catalogue import TypeInfo
from xportal.sandbox.api.errors import ApiError, not_found
from xportal.sandbox.api.volumes import Attachment
from xportal.sandbox.hardware import Addresses, Boot, Disk, Notice, RoleCredentials

if TYPE_CHECKING:
    from xportal.sandbox.api.backend import Ec2Backend
    from xportal.sandbox.api.engine import Engine
    from xportal.sandbox.api.launch import Launch
    from xportal.sandbox.api.spot import SpotRequest

log = logging.getLogger(__name__)

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
GONE = ("shutting-down", "terminated")

BY_USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
BY_ITSELF = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
BY_SPOT = ("Server.SpotInstanceTermination", "Spot instance termination")
BY_FAILURE = ("Server.InternalError", "Internal error on launch")


class Instance(moto_instances.Instance):
    """moto's instance (network interfaces and attributes) with real states, addresses and disks."""

    def __init__(self, backend: Ec2Backend, launch: Launch, index: int) -> None:
        super().__init__(
            backend,
            launch.image.id,
            launch.user_data,
            list(launch.groups),
            instance_type=launch.type.name,
            region_name=backend.region_name,
            subnet_id=launch.subnet.id,
            key_name=launch.key_name,
            nics=[],
            ami_launch_index=index,
            client_token=launch.client_token,
            lifecycle="spot" if launch.spot is not None else None,
            instance_initiated_shutdown_behavior=launch.shutdown_behaviour,
            metadata_options=launch.metadata_options,
            monitoring_state="disabled",
            associate_public_ip=False,
            ebs_optimized=True,
            disable_api_termination=launch.termination_protected,
        )
        self.type_info: TypeInfo = launch.type
        self.reservation_id = ""
        self.public: bool = launch.public
        self.addresses: Addresses | None = None
        self.nics[0].delete_on_termination = True
        self.mac = self.nics[0].mac_address
        self.spot: SpotRequest | None = None
        self.notice: Notice | None = None
        self.power_ends_at: datetime | None = None
        self.terminated_at: datetime | None = None
        self.seen = False
        self.login_key = launch.login_key  # as it was at launch: deleting the key pair does not take it away
        self.credentials: RoleCredentials | None = None
        self.block_device_mapping: dict[str, Attachment] = {}  # type: ignore[assignment]
        self.become("pending")

    def become(self, state: str, reason: tuple[str, str] | None = None) -> None:
        """Change the state; with a reason, tell it in StateReason and StateTransitionReason."""
        self._state = moto_instances.InstanceState(state, CODES[state])
        if reason:
            code, message = reason
            self.state_reason = moto_instances.StateReason(f"{code}: {message}", code)
            self._reason = f"{message} ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"

    def give(self, addresses: Addresses) -> None:
        """The addresses the hardware chose, for the instance and its network interface."""
        self.addresses = addresses
        nic = self.nics[0]
        nic.private_ip_address = addresses.private_ip
        nic.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": addresses.private_ip}]
        nic.public_ip = self.public_ip

    @property
    def disks(self) -> list[Attachment]:
        """The attached volumes that are real disks, the root volume not among them."""
        return [a for a in self.block_device_mapping.values() if a.volume.stored]

    @property
    def spot_instance_request_id(self) -> str | None:
        return self.spot.id if self.spot else None

    @property
    def instance_lifecycle(self) -> str | None:
        return self.lifecycle

    @property
    def private_ip(self) -> str | None:
        return self.addresses.private_ip if self.addresses else None

    @property
    def private_ip_address(self) -> str | None:
        return self.private_ip

    @property
    def public_ip(self) -> str | None:
        return self.addresses.public_ip if self.addresses and self.public else None

    @property
    def public_ip_address(self) -> str | None:
        return self.public_ip

    @property
    def public_dns_name(self) -> str:
        """The address itself: no name server knows the sandbox's machines."""
        return self.public_ip or ""

    @property
    def private_dns_name(self) -> str:
        if not self.private_ip:
            return ""
        domain = "ec2.internal" if self.region_name == "us-east-1" else f"{self.region_name}.compute.internal"
        return f"ip-{self.private_ip.replace('.', '-')}.{domain}"


def all_instances(backend: Ec2Backend) -> list[Instance]:
    """Every instance of the region, those terminated long ago forgotten first."""
    _forget_old(backend)
    return [cast(Instance, instance) for r in backend.reservations.values() for instance in r.instances]


def _forget_old(backend: Ec2Backend) -> None:
    limit = utcnow() - timedelta(seconds=backend.engine.settings.terminated_seconds)
    for reservation in list(backend.reservations.values()):
        members = [cast(Instance, instance) for instance in reservation.instances]
        if all(member.terminated_at and member.terminated_at < limit for member in members):
            for member in members:
                backend.tags.pop(member.id, None)
                if member.spot:
                    backend.forget(backend.spot_instance_requests, member.spot.id)
            del backend.reservations[reservation.id]


def find_instance(backend: Ec2Backend, instance_id: str) -> Instance | None:
    return next((i for i in all_instances(backend) if i.id == instance_id), None)


def get_instance(backend: Ec2Backend, instance_id: str) -> Instance:
    if not instance_id.startswith("i-"):
        raise ApiError("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
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
