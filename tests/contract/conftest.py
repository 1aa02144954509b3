"""A cloud over files, and boto3 clients for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
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

from tests import user
from tests.user import KEYS, SECRET, Signing
from xportal.sandbox import admin
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware

REGION = "us-east-1"
AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@lru_cache
def make_client(service: str, endpoint_url: str, region: str = REGION) -> Any:
    return user.make_client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        **KEYS,
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

    def client(self, service: str) -> Any:
        return make_client(service, self.cloud.endpoint_url, self.region)

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

    def drive(self, **ebs: Any) -> dict[str, Any]:
        """The mapping of a drive: 10 GiB, kept at the end."""
        return {
            "DeviceName": "/dev/sdf",
            "Ebs": {"VolumeSize": 10, "VolumeType": "gp3", "DeleteOnTermination": False, **ebs},
        }

    def launch_with_drive(self, **given: Any) -> dict[str, Any]:
        return self.launch_running(BlockDeviceMappings=[self.drive()], **given)

    def drive_of(self, instance: dict[str, Any]) -> str:
        """The id of the volume at /dev/sdf."""
        mapping = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"]}
        return str(mapping["/dev/sdf"])

    def terminate(self, instance: dict[str, Any]) -> None:
        """Terminate and wait until it is."""
        self.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        self.wait_instance(instance["InstanceId"], "terminated")

    def all_instances(self) -> list[dict[str, Any]]:
        return [i for r in self.ec2.describe_instances()["Reservations"] for i in r["Instances"]]

    def spot_request(self, instance: dict[str, Any]) -> dict[str, Any]:
        answer = self.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[instance["SpotInstanceRequestId"]])
        found: dict[str, Any] = answer["SpotInstanceRequests"][0]
        return found

    def prices(self, instance_type: str) -> dict[str, float]:
        """Dollars an hour for Linux, by zone."""
        lines = self.ec2.describe_spot_price_history(InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"])[
            "SpotPriceHistory"
        ]
        return {line["AvailabilityZone"]: float(line["SpotPrice"]) for line in lines}

    def price(self, instance_type: str, zone: str) -> float:
        return self.prices(instance_type)[zone]

    def accepts(self, launch: dict[str, Any]) -> bool:
        """Try a launch; False when it is refused."""
        try:
            self.launch(**launch)
        except ClientError:
            return False
        return True

    def import_key(self, name: str, **given: Any) -> bytes:
        """Import a new public key; the key."""
        public_key = make_public_key()
        self.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public_key, **given)
        return public_key

    def wait_until(self, done: Callable[[], bool]) -> None:
        wait_for(dict, lambda _: done())

    def client_with(self, service: str, access_key: str, secret: str, token: str | None = None) -> Any:
        """A client with credentials of one's own."""
        return user.make_client(
            service,
            endpoint_url=self.cloud.endpoint_url,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )

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
        return admin.call(self.cloud.endpoint_url, SECRET, method, route, body)

    def ask_admin(self, method: str, route: str, **given: Any) -> requests.Response:
        """What an admin route answers, whatever that is."""
        url = f"{self.cloud.endpoint_url}/_xportal/{route}"
        return requests.request(method, url, **{"auth": Signing(admin.SERVICE), "timeout": 10, **given})


def wait_for(look: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look again and again until it is done, for at most ten seconds."""
    deadline = monotonic() + 10
    while not done(seen := look()):
        assert monotonic() < deadline, f"did not get there: {seen}"
        sleep(0.01)
    return seen


@dataclass(frozen=True)
class Refusal:
    """What a refused call said; `status` is HTTP's."""

    code: str
    message: str
    status: int


Refuse = Callable[..., Refusal]


@pytest.fixture
def refused() -> Refuse:
    """Call something that AWS must refuse."""

    def call(function: Callable[..., Any], *args: Any, **given: Any) -> Refusal:
        with pytest.raises(ClientError) as caught:
            function(*args, **given)
        answer = caught.value.response
        error = answer["Error"]
        return Refusal(error["Code"], error["Message"], answer["ResponseMetadata"]["HTTPStatusCode"])

    return call


@pytest.fixture
def settings() -> Settings:
    """Quick, but pending snapshots are seen."""
    return Settings(
        snapshot_seconds=0.3, invisible_seconds=0.0, mapping_seconds=0.0, iam_seconds=0.0, profile_seconds=0.3
    )


@pytest.fixture
def hardware(tmp_path: Path) -> FileHardware:
    """Disks that are files; no machines."""
    return FileHardware(tmp_path)


@pytest.fixture(scope="session")
def port() -> int:
    """A free port, the same for every cloud of the session: clients take a while to make and are kept."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class AwsAccount(Account):
    """An account of AWS's own, as AWS's SDK finds it: there is no cloud of ours, and nothing is changed in it."""

    def __init__(self) -> None:
        session = boto3.Session()
        if session.get_credentials() is None or not session.region_name:
            pytest.skip("AWS itself is asked where credentials and a region are set: aws configure")
        self.region, self._session = session.region_name, session

    def client(self, service: str) -> Any:
        return self._session.client(service)  # type: ignore[call-overload]


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """A started cloud and its clients, or with `--aws` an account of AWS's."""
    if request.config.getoption("--aws"):
        yield AwsAccount()
        return
    hardware, settings, port = (request.getfixturevalue(name) for name in ("hardware", "settings", "port"))
    with Cloud(hardware, port=port, settings=settings, secret=SECRET) as cloud:
        yield Account(cloud, hardware)
