"""A snapshot of a volume, or the one behind an image."""

from __future__ import annotations

from datetime import datetime

from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import random_snapshot_id

from xportal.sandbox.api.ec2.records.image import Image


class Snapshot(TaggedEC2Resource):
    """`stored`: the hardware has its bytes (not so for images' and root volumes' snapshots)."""

    def __init__(self, backend: EC2Backend, volume_id: str, size_gib: int) -> None:
        self.ec2_backend = backend
        self.id = random_snapshot_id()
        self.volume_id = volume_id
        self.volume_size = size_gib
        self.description = ""
        self.owner_id: str = backend.account_id
        self.owner_alias: str | None = None
        self.start_time: datetime = utcnow()
        self.completes_at: datetime | None = None  # None: its point in time is still being taken
        self.outcome = "completed"  # or error
        self.stuck = False  # by a fault: pending until it is released
        self.deletion_asked = False
        self.encrypted = False
        self.kms_key_id: str | None = None
        self.storage_tier = "standard"
        self.from_ami: str | None = None
        self.stored = True
        self.create_volume_permission_groups: set[str] = set()
        self.create_volume_permission_userids: set[str] = set()

    @classmethod
    def of_image(cls, backend: EC2Backend, image: Image) -> Snapshot:
        """The public snapshot behind an image of the catalogue."""
        snapshot = cls(backend, "vol-ffffffff", image.root_gib)
        snapshot.id = image.root_snapshot_id
        snapshot.owner_id = image.owner_id
        snapshot.owner_alias = "amazon"
        snapshot.description = f"Root of {image.id}"
        snapshot.start_time = snapshot.completes_at = image.creation_date
        snapshot.from_ami = image.id
        snapshot.stored = False
        snapshot.create_volume_permission_groups = {"all"}
        return snapshot

    @property
    def snapshot_id(self) -> str:
        return self.id

    @property
    def status(self) -> str:
        """pending until its time has come, then its outcome. Needs no timer, so restarts do not matter."""
        if self.completes_at is None or utcnow() < self.completes_at:
            return "pending"
        return self.outcome

    @property
    def state(self) -> str:
        return self.status

    @property
    def progress(self) -> str:
        if self.completes_at is None:
            return "0%"
        whole = (self.completes_at - self.start_time).total_seconds()
        gone = (utcnow() - self.start_time).total_seconds()
        return "100%" if gone >= whole else f"{max(0, min(99, int(100 * gone / whole)))}%"
