"""An instance: its state, its addresses and its disks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend
from moto.ec2.models import instances as moto_instances

from xportal.sandbox.api.ec2.catalogue import TypeInfo
from xportal.sandbox.api.ec2.records.launch import Launch
from xportal.sandbox.api.ec2.records.spot_request import SpotRequest
from xportal.sandbox.api.ec2.records.volume import Attachment
from xportal.sandbox.hardware import Addresses, Notice, RoleCredentials

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


class Instance(moto_instances.Instance):
    """moto's instance (network interfaces and attributes) with real states, addresses and disks."""

    running_since: datetime | None = None  # states of earlier versions lack it

    def __init__(self, backend: EC2Backend, launch: Launch, index: int) -> None:
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
        if state == "running":
            self.running_since = utcnow()
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
    def block_device_mappings(self) -> list[Any]:
        """As Describe shows it: just after the launch in parts."""
        shown: list[Any] = super().block_device_mappings
        whole = timedelta(seconds=self.ec2_backend.engine.settings.mapping_seconds)
        is_young = self.running_since is not None and utcnow() - self.running_since < whole
        return shown[:1] if is_young and self.state == "running" else shown

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
