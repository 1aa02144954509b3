"""The agent's own client of EC2: signatures as botocore makes them, and its few calls against the sandbox's API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import user
from tests.machines.lab import metadata
from tests.unit.agent.metadata_service import serve
from tests.user import SECRET, make_session
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.events import Log
from xportal.agent.core.imds import Imds
from xportal.agent.core.process import AgentError
from xportal.agent.full.ec2 import Ec2, sign
from xportal.agent.full.remember import kept, remember
from xportal.agent.full.snapshots import ROLLING, is_any_pending, plan_tags, take_snapshots, try_role
from xportal.aws import tags
from xportal.aws.roles import ROLE, ensure_instance_profile
from xportal.aws.session import Aws
from xportal.drive.made import Description
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware import RoleCredentials
from xportal.sandbox.hardware.files import FileHardware

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)
KEYS = {"AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCY", "Token": "AQoD/+="}


@pytest.mark.parametrize(
    ("url", "region", "parameters"),
    [
        ("https://ec2.eu-west-1.amazonaws.com", "eu-west-1", {"Action": "DescribeSnapshots", "Version": "2016-11-15"}),
        ("http://127.0.0.1:5577", "us-east-1", {"Action": "CreateSnapshot", "Description": "ümlaut & a b+c/~=%\n"}),
        ("https://ec2.cn-north-1.amazonaws.com.cn", "cn-north-1", {f"Tag.{n}.Value": "x" * n for n in range(40)}),
        ("https://ec2.us-gov-west-1.amazonaws.com", "us-gov-west-1", {}),
    ],
)
def test_a_request_is_signed_as_botocore_signs_it(url: str, region: str, parameters: dict[str, str]) -> None:
    """The same headers, the same time, the same keys: the same signature."""
    body = urlencode(parameters)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    ours = sign(url, region, body, stamp, KEYS)
    request = AWSRequest("POST", f"{url}/", {"Content-Type": ours["content-type"]}, body)
    request.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(KEYS["AccessKeyId"], KEYS["SecretAccessKey"], KEYS["Token"]), "ec2", region)
    auth._modify_request_before_signing(request)  # type: ignore[attr-defined]  # its own, as the next two
    request.headers.replace_header("X-Amz-Date", stamp)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    auth._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]
    assert ours["authorization"] == request.headers["Authorization"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose volumes are files."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with Cloud(
        FileHardware(tmp_path_factory.mktemp("disks")), settings=Settings(snapshot_seconds=0.1), secret=SECRET
    ) as started:
        yield started


class Machine:
    """What a machine has: IMDS with a role, volumes, an account's user beside it who looks on."""

    def __init__(self, cloud: Cloud, imds: Imds) -> None:
        self.ec2 = user.make_client(
            "ec2",
            endpoint_url=cloud.endpoint_url,
            region_name="us-east-1",
            **user.KEYS,
        )
        self.cloud = cloud
        self.imds = imds
        drives = [DriveConfig("demo", 7), DriveConfig("data", 3)]
        self.config = AgentConfig("demo", "l-1", "us-east-1", cloud.endpoint_url, drives)
        self.drives = [self.drive("demo", 7), self.drive("data", 3)]

    def save(self, drives: list[dict[str, Any]], log: Log, left: Callable[[], float]) -> dict[str, str]:
        """What the agent does after the unmount."""
        return take_snapshots(self.config, drives, "notice-1", "final", log, left, self.imds)

    def drive(self, name: str, generation: int) -> dict[str, Any]:
        """A volume, as the agent's state tells of it."""
        ours = [{"ResourceType": "volume", "Tags": [{"Key": "xportal", "Value": "1"}]}]
        made = self.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3", TagSpecifications=ours)
        return {"name": name, "volume_id": made["VolumeId"], "generation": generation}

    def snapshots(self, drive: dict[str, Any]) -> list[dict[str, Any]]:
        """A volume's snapshots."""
        by_volume = [{"Name": "volume-id", "Values": [drive["volume_id"]]}]
        found: list[dict[str, Any]] = self.ec2.describe_snapshots(OwnerIds=["self"], Filters=by_volume)["Snapshots"]
        return found


@pytest.fixture
def machine(cloud: Cloud) -> Iterator[Machine]:
    """A machine in that cloud, with the role that `up` gives it and no more rights than that."""
    session = make_session()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
        aws = Aws(session, "us-east-1")
        ensure_instance_profile(aws, print)
        arn = aws.iam().get_role(RoleName=ROLE)["Role"]["Arn"]
        got = session.client("sts").assume_role(RoleArn=arn, RoleSessionName="i-0000")["Credentials"]
    keys = got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]
    role = RoleCredentials(ROLE, arn, *keys, datetime.now(timezone.utc), got["Expiration"])
    with serve(lambda: replace(metadata(hop_limit=2), role=role)) as imds:
        yield Machine(cloud, imds)


def test_each_drive_gets_one_final_snapshot_with_the_protocol_s_tags(machine: Machine, tmp_path: Path) -> None:
    """However often it is asked for: the first one is found again, also if its answer was lost."""
    for _ in range(2):
        done = machine.save(machine.drives, Log(tmp_path / "log"), lambda: 0.0)
        assert sorted(done) == ["data", "demo"]
    for drive in machine.drives:
        (snapshot,) = machine.snapshots(drive)
        found = {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
        told = Description({drive["name"]: drive["generation"]}, "final")  # without which it permits no deletion
        assert snapshot["Description"] == str(told)
        assert found == plan_tags(machine.config, drive, "notice-1", "final")
        assert (found["xportal:generation"], found["xportal:drive"]) == (str(drive["generation"]), drive["name"])


def test_what_the_portal_remembers_rides_on_the_machine_s_snapshots(machine: Machine, tmp_path: Path) -> None:
    """What was told last, also after a reboot; and no snapshot fails for what is wrong with it."""
    drive, paths, log = machine.drives[0], Paths(tmp_path), Log(tmp_path / "log")
    for wanted in ("first", "second"):
        remember(paths, {tags.REMEMBERED: wanted})
    take_snapshots(machine.config, [drive], "rolling-1", ROLLING, log, lambda: 0.0, machine.imds, paths)
    kept(paths).write_text("{")
    take_snapshots(machine.config, [drive], "rolling-2", ROLLING, log, lambda: 0.0, machine.imds, paths)
    told = [{tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} for snapshot in machine.snapshots(drive)]
    found = {one[tags.SAVE]: one.get(tags.REMEMBERED) for one in told}
    assert found == {"rolling-1": "second", "rolling-2": None}


def test_rolling_checkpoints_say_so_where_nobody_can_edit_it(machine: Machine, tmp_path: Path) -> None:
    """What is deleted later without being asked for tells it in its description, too; each is another snapshot."""
    drive = machine.drives[0]
    for save in ("rolling-1", "rolling-2"):
        take_snapshots(machine.config, [drive], save, ROLLING, Log(tmp_path / "log"), lambda: 0.0, machine.imds)
    first, second = machine.snapshots(drive)
    assert first["Description"] == second["Description"] == str(Description({"demo": 7}, tags.ROLLED))
    told = [{tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} for snapshot in (first, second)]
    assert [(t[tags.KIND], t[tags.ROLLING]) for t in told] == [(tags.CHECKPOINT, "1")] * 2


def test_a_snapshot_that_is_not_complete_is_seen(machine: Machine, tmp_path: Path) -> None:
    """Of any of the drives, and of no other volume."""
    drive, other = machine.drives
    assert not is_any_pending(machine.config, machine.drives, machine.imds)
    machine.cloud.add_fault("snapshot-slow", seconds=3.0, count=1)
    take_snapshots(machine.config, [drive], "rolling-1", ROLLING, Log(tmp_path / "log"), lambda: 0.0, machine.imds)
    assert is_any_pending(machine.config, [other, drive], machine.imds)
    assert not is_any_pending(machine.config, [other], machine.imds)
    machine.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[machine.snapshots(drive)[0]["SnapshotId"]])
    assert not is_any_pending(machine.config, machine.drives, machine.imds)


def test_what_fails_is_tried_again_and_what_went_well_is_not(machine: Machine, tmp_path: Path) -> None:
    """A volume that is not there holds up no other; without time left nothing more is tried."""
    lost = {"name": "lost", "volume_id": "vol-0123456789abcdef0", "generation": 1}
    seconds = iter([60.0, 0.0])
    log = Log(tmp_path / "log")
    done = machine.save([lost, *machine.drives], log, lambda: next(seconds))
    assert sorted(done) == ["data", "demo"]
    assert (tmp_path / "log").read_text().count("InvalidVolume.NotFound") == 2


def test_without_a_role_it_says_so() -> None:
    """IMDS has no credentials."""
    with serve(lambda: metadata(hop_limit=2)) as imds, pytest.raises(AgentError, match="no role"):
        Ec2(imds, "http://127.0.0.1:1", "us-east-1").find_snapshot("vol-1", {})


def test_a_role_without_credentials_says_why(machine: Machine) -> None:
    """IMDS answers with a code, and no keys or old ones. `up` has the machine try before it is needed."""
    assert try_role(machine.config, machine.imds) == ""
    failed = RoleCredentials(ROLE, "arn", "", "", "", AT, AT, code="AssumeRoleUnauthorizedAccess")
    with serve(lambda: replace(metadata(hop_limit=2), role=failed)) as imds:
        with pytest.raises(AgentError, match="gives it no credentials: AssumeRoleUnauthorizedAccess: EC2 cannot"):
            Ec2(imds, machine.config.endpoint, "us-east-1").find_snapshot("vol-1", {})
        assert "AssumeRoleUnauthorizedAccess" in try_role(machine.config, imds)


def test_the_order_of_elements_means_nothing() -> None:
    """AWS says that it may change: snapshots and their states belong together by their item."""
    answer = """<?xml version="1.0" encoding="UTF-8"?>
    <DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><snapshotSet>
    <item><status>error</status><tagSet><item><key>status</key><value>x</value></item></tagSet>
    <snapshotId>snap-1</snapshotId></item>
    <item><volumeId>vol-1</volumeId><status>pending</status><snapshotId>snap-2</snapshotId></item>
    </snapshotSet></DescribeSnapshotsResponse>"""

    class Answered(Ec2):
        """Always the same."""

        def call(self, action: str, parameters: dict[str, str]) -> str:
            """Whatever is asked."""
            return answer

    with serve(lambda: metadata(hop_limit=2)) as imds:
        asked = Answered(imds, "http://127.0.0.1:1", "us-east-1")
        assert asked.find_snapshot("vol-1", {}) == "snap-2"
        assert asked.has_pending("vol-1")
        answer = "<html>"
        with pytest.raises(AgentError, match="makes no sense"):
            asked.find_snapshot("vol-1", {})


def test_an_api_that_does_not_answer_is_an_error_in_words(machine: Machine) -> None:
    """Nobody listens there."""
    silent = Ec2(machine.imds, "http://127.0.0.1:1", "us-east-1")
    with pytest.raises(AgentError, match="does not answer"):
        silent.find_snapshot("vol-1", {})
