"""A cloud over files, and boto3 clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware import FileHardware

REGION = "us-east-1"
AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


def make_client(service: str, endpoint_url: str, region: str = REGION) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id="AKIAXPORTALSANDBOX00",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )


def make_public_key() -> bytes:
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@dataclass
class Account:
    """A started cloud as a user of its API sees it, with the few steps that most tests begin with."""

    cloud: Cloud
    hardware: FileHardware
    region: str = REGION
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = make_client(service, self.cloud.endpoint_url, self.region)
        return self._clients[service]

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @cached_property
    def image_id(self) -> str:
        answer = self.client("ssm").get_parameter(Name=AMAZON_LINUX)
        return str(answer["Parameter"]["Value"])

    def launch(self, zone: str = "us-east-1a", **given: Any) -> dict[str, Any]:
        """Run one instance; the reply's instance."""
        request = {
            "ImageId": self.image_id,
            "InstanceType": "t3.medium",
            "MinCount": 1,
            "MaxCount": 1,
            "Placement": {"AvailabilityZone": zone},
            **given,
        }
        instance: dict[str, Any] = self.ec2.run_instances(**request)["Instances"][0]
        return instance

    def launch_running(self, zone: str = "us-east-1a", **given: Any) -> dict[str, Any]:
        """Run one instance and wait until it runs."""
        return self.wait_instance(self.launch(zone, **given)["InstanceId"], "running")

    def launch_spot(self, **given: Any) -> dict[str, Any]:
        return self.launch_running(InstanceMarketOptions={"MarketType": "spot"}, **given)

    def instance(self, instance_id: str) -> dict[str, Any]:
        """By a filter, which finds it even just after its launch."""
        answer = self.ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])
        found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        return found

    def volume(self, volume_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
        return found

    def snapshot(self, snapshot_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
        return found

    def wait_instance(self, instance_id: str, state: str) -> dict[str, Any]:
        return wait_for(lambda: self.instance(instance_id), lambda i: i["State"]["Name"] == state)

    def wait_volume(self, volume_id: str, state: str = "available") -> dict[str, Any]:
        return wait_for(lambda: self.volume(volume_id), lambda v: v["State"] == state)

    def wait_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        return wait_for(lambda: self.snapshot(snapshot_id), lambda s: s["State"] == "completed")

    def make_volume(self, size: int = 10, zone: str = "us-east-1a", **given: Any) -> str:
        """An available volume's id."""
        made = self.ec2.create_volume(AvailabilityZone=zone, Size=size, VolumeType="gp3", **given)
        self.wait_volume(made["VolumeId"])
        return str(made["VolumeId"])

    def make_snapshot(self, volume_id: str) -> str:
        """A completed snapshot's id."""
        made = self.ec2.create_snapshot(VolumeId=volume_id)
        self.wait_snapshot(made["SnapshotId"])
        return str(made["SnapshotId"])

    def admin(self, method: str, route: str, **body: Any) -> Any:
        answer = requests.request(method, f"{self.cloud.endpoint_url}/_xportal/{route}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()


def wait_for(look: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look again and again until it is done, for at most ten seconds."""
    deadline = monotonic() + 10
    while not done(seen := look()):
        assert monotonic() < deadline, f"did not get there: {seen}"
        sleep(0.01)
    return seen


class Refusal:
    """What a refused call said."""

    code = ""
    message = ""
    status = 0


@pytest.fixture
def refused() -> Callable[..., Refusal]:
    """Call something that AWS must refuse; its code, message and HTTP status."""

    def call(function: Callable[..., Any], **given: Any) -> Refusal:
        with pytest.raises(ClientError) as caught:
            function(**given)
        refusal = Refusal()
        refusal.code = caught.value.response["Error"]["Code"]
        refusal.message = caught.value.response["Error"]["Message"]
        refusal.status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
        return refusal

    return call


@pytest.fixture
def settings() -> Settings:
    """Quick, but pending snapshots are seen."""
    return Settings(snapshot_seconds=0.3, invisible_seconds=0.0, profile_seconds=0.3)


@pytest.fixture
def account(tmp_path: Path, settings: Settings) -> Iterator[Account]:
    """A started cloud and its clients."""
    hardware = FileHardware(tmp_path)
    with Cloud(hardware, settings=settings) as cloud:
        yield Account(cloud, hardware)
