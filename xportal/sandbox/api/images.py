"""The catalogue's images as EC2 records, with the snapshots behind them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from moto.ec2.models.amis import Ami

from xportal.sandbox.api.catalogue import IMAGES, ImageKind
from xportal.sandbox.api.errors import ApiError, not_found
from xportal.sandbox.api.snapshots import Snapshot

if TYPE_CHECKING:
    from xportal.sandbox.api.backend import Ec2Backend


class Image(Ami):
    """An image of the catalogue. moto's own would invent a 15 GiB root volume for it."""

    def __init__(self, backend: Ec2Backend, kind: ImageKind) -> None:
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


def install(backend: Ec2Backend) -> None:
    """Put the catalogue's images and their snapshots into a region."""
    for kind in IMAGES:
        image = Image(backend, kind)
        backend.amis[image.id] = image
        backend.snapshots[image.root_snapshot_id] = Snapshot.of_image(backend, image)


def get_image(backend: Ec2Backend, image_id: str) -> Image:
    if not image_id.startswith("ami-"):
        raise ApiError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    image = backend.amis.get(image_id)
    if not isinstance(image, Image):
        raise not_found("InvalidAMIID", f"[{image_id}]")
    return image
