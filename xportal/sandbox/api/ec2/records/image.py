"""An image of the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami

from xportal.sandbox.api.ec2.catalogue import ImageKind


class Image(Ami):
    """An image of the catalogue. moto's own would invent a 15 GiB root volume for it."""

    def __init__(self, backend: EC2Backend, kind: ImageKind) -> None:
        self.ec2_backend = backend
        self.id = kind.image_id(backend.region_name)
        self.name = kind.name
        self.description = kind.description
        self.owner_id = kind.owner_id
        self.owner_alias = "amazon"
        self.image_owner_alias = "amazon"
        self.image_location = f"amazon/{kind.name}"
        self.architecture = kind.architecture
        self.creation_date = datetime.strptime(kind.released, "%Y-%m-%dT%H:%M:%S.%fZ")
        self.root_device_name = kind.root_device
        self.root_device_type = "ebs"
        self.root_gib = kind.root_gib
        self.root_snapshot_id = kind.snapshot_id(backend.region_name)
        self.state = "available"
        self.image_type = "machine"
        self.virtualization_type = "hvm"
        self.hypervisor = "xen"
        self.platform = None
        self.platform_details = "Linux/UNIX"
        self.kernel_id = None
        self.instance_id = None
        self.sriov = "simple"
        self.sriov_net_support = "simple"
        self.ena_support = True
        self.boot_mode = "uefi-preferred" if kind.architecture == "x86_64" else "uefi"
        self.imds_support = "v2.0"
        self.product_codes = set()
        self.launch_permissions = [{"Group": "all"}]

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        ebs = {
            "SnapshotId": self.root_snapshot_id,
            "VolumeSize": self.root_gib,
            "VolumeType": "gp3",
            "Iops": 3000,
            "Throughput": 125,
            "Encrypted": False,
            "DeleteOnTermination": True,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": ebs}]
