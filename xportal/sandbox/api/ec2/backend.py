"""One region of the sandbox's EC2: moto's backend with our records in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from xportal.sandbox.api.ec2.catalogue import IMAGES
from xportal.sandbox.api.ec2.records.image import Image
from xportal.sandbox.api.ec2.records.snapshot import Snapshot
from xportal.sandbox.api.ec2.records.spot_request import SpotRequest
from xportal.sandbox.api.ec2.records.token_use import TokenUse
from xportal.sandbox.api.ec2.records.volume import Volume
from xportal.sandbox.api.engine import Engine
from xportal.sandbox.api.faults import Faults


class Ec2Backend(EC2Backend):
    """`engine` and `faults` are the running cloud's: moto's backends are globals, so one cloud at a time."""

    engine: ClassVar[Engine]
    faults: ClassVar[Faults]
    # moto's lists of records, with ours in them.
    volumes: dict[str, Volume]  # type: ignore[assignment]
    snapshots: dict[str, Snapshot]  # type: ignore[assignment]
    amis: dict[str, Image]  # type: ignore[assignment]
    spot_instance_requests: dict[str, SpotRequest]  # type: ignore[assignment]
    region_name: str
    account_id: str

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.launch_tokens: dict[str, TokenUse] = {}
        self.volume_tokens: dict[str, TokenUse] = {}
        for kind in IMAGES:
            image = Image(self, kind)
            self.amis[image.id] = image
            self.snapshots[image.root_snapshot_id] = Snapshot.of_image(self, image)

    def _load_amis(self) -> None:
        """moto's 1,301 images and their snapshots are not loaded: the sandbox has its own few."""

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """moto looks through every tag of the region for each record it shows: look those up directly."""
        if filters and set(filters) == {"resource-id"} and len(filters["resource-id"]) == 1:
            resource = filters["resource-id"][0]
            if "*" not in resource and "?" not in resource:
                kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource), "")
                return [
                    {"resource_id": resource, "key": key, "value": value, "resource_type": kind}
                    for key, value in self.tags.get(resource, {}).items()
                ]
        return super().describe_tags(filters)

    def forget(self, records: dict[str, Any], record_id: str) -> bool:
        """Drop a record and its tags; False when it was gone."""
        self.tags.pop(record_id, None)
        return records.pop(record_id, None) is not None


def get_backend(region: str) -> Ec2Backend:
    backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
    assert isinstance(backend, Ec2Backend)
    return backend


def all_backends() -> Iterator[Ec2Backend]:
    """Every region that was asked for so far."""
    for backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].values()):
        assert isinstance(backend, Ec2Backend)
        yield backend
