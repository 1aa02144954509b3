"""Faults do what they say, when they say, and end."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.contract.conftest import Account, Refuse, wait_for
from tests.user import SECRET
from xportal.errors import HardwareFailure
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware import Disk
from xportal.sandbox.hardware.files import FileHardware


def fates(call: Callable[[], Any], times: int = 30) -> list[bool]:
    """Of so many calls in a row: which were hit."""

    def is_hit() -> bool:
        try:
            call()
        except (ClientError, ConnectionClosedError):
            return True
        return False

    return [is_hit() for _ in range(times)]


@pytest.mark.parametrize("kind", ["throttle", "error", "lost"])
def test_the_seed_decides_which_calls_are_hit(account: Account, kind: str) -> None:
    """The n-th matching call meets the same fate each time, whatever else is in force; another seed, another row."""
    rows: list[list[bool]] = []
    for seed in (5, 5, 6):
        account.cloud.add_fault(kind, rate=0.3, seed=seed)
        if len(rows) == 1:
            account.cloud.add_fault("slow", rate=0.5, seconds=0.001)
            account.cloud.add_fault("throttle", operations=["CreateVolume"])
        rows.append(fates(account.ec2.describe_volumes))
        account.cloud.clear_faults()
    assert rows[0] == rows[1] != rows[2]
    assert 3 <= sum(rows[0]) <= 15


def test_a_throttled_call_is_refused_with_503(account: Account, refused: Refuse) -> None:
    """RequestLimitExceeded, for all of EC2 and for nothing else, until the faults are cleared."""
    account.cloud.add_fault("throttle")
    no = refused(account.ec2.create_volume, AvailabilityZone="us-east-1a", Size=1)
    assert (no.code, no.status) == ("RequestLimitExceeded", 503)
    assert account.client("sts").get_caller_identity()["Account"]
    account.cloud.clear_faults()
    assert account.ec2.describe_volumes()["Volumes"] == []


def test_a_failed_call_has_no_effect(account: Account, refused: Refuse) -> None:
    """InternalError with 500 and Unavailable with 503, by turns; what was asked for was not done."""
    account.cloud.add_fault("error", operations=["CreateVolume"], count=2)
    told = [refused(account.ec2.create_volume, AvailabilityZone="us-east-1a", Size=1) for _ in range(2)]
    assert [(no.code, no.status) for no in told] == [("InternalError", 500), ("Unavailable", 503)]
    assert account.ec2.describe_volumes()["Volumes"] == []
    account.make_volume()


def test_of_a_lost_answer_the_effect_is_there(account: Account) -> None:
    """The connection closes without an answer, and the volume exists."""
    account.cloud.add_fault("lost", operations=["CreateVolume"], count=1)
    with pytest.raises(ConnectionClosedError):
        account.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)
    assert len(account.ec2.describe_volumes()["Volumes"]) == 1


def test_a_slow_answer_comes_late(account: Account) -> None:
    """After so many seconds; other operations, and other calls meanwhile, are answered at once."""
    account.cloud.add_fault("slow", operations=["DescribeVolumes"], seconds=0.5)
    began = monotonic()
    account.ec2.describe_instances()
    assert monotonic() - began < 0.5
    account.ec2.describe_volumes()
    assert monotonic() - began >= 0.5


def test_operations_of_other_services_can_be_hit(account: Account, refused: Refuse) -> None:
    """By name; each service says it in its own words."""
    account.cloud.add_fault("throttle", operations=["GetParameter", "GetCallerIdentity"])
    assert refused(account.client("ssm").get_parameter, Name="/x").code == "ThrottlingException"
    assert refused(account.client("sts").get_caller_identity).code == "Throttling"
    assert account.ec2.describe_volumes()["Volumes"] == []


def test_capacity_is_missing_at_a_rate(account: Account) -> None:
    """Some launches find no capacity, the same ones each time."""
    rows: list[list[bool]] = []
    for _ in range(2):
        account.cloud.add_fault("capacity", rate=0.5, seed=1)
        rows.append(fates(account.launch, 8))
        account.cloud.clear_faults()
    assert rows[0] == rows[1]
    assert 0 < sum(rows[0]) < 8


def test_a_snapshot_fails(account: Account) -> None:
    """It is pending for its usual time, then in state error; it can be deleted; the next is well."""
    volume = account.make_volume()
    account.cloud.add_fault("snapshot-fail", count=1)
    made = account.ec2.create_snapshot(VolumeId=volume)
    assert made["State"] == "pending"
    wait_for(lambda: account.snapshot(made["SnapshotId"]), lambda s: s["State"] == "error")
    account.ec2.delete_snapshot(SnapshotId=made["SnapshotId"])
    account.make_snapshot(volume)


def test_a_stuck_snapshot_completes_when_the_faults_are_cleared(account: Account) -> None:
    """Until then it stays pending, though its fault has had its count; one that was deleted goes."""
    account.cloud.settings.snapshot_seconds = 0.0
    volume = account.make_volume()
    account.cloud.add_fault("snapshot-stuck", count=2)
    made = account.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    gone = account.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    account.ec2.delete_snapshot(SnapshotId=gone)
    well = account.make_snapshot(volume)
    assert account.admin("GET", "faults")["faults"] == []
    assert (account.snapshot(made)["State"], account.snapshot(made)["Progress"]) == ("pending", "0%")
    account.cloud.clear_faults()
    assert account.snapshot(made)["State"] == "completed"
    assert {s["SnapshotId"] for s in account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]} == {made, well}


def test_a_stuck_snapshot_does_not_outlive_its_fault(hardware: FileHardware, tmp_path: Path, port: int) -> None:
    """Faults end with the cloud: after a restart the snapshot is complete."""
    settings, state = Settings(snapshot_seconds=0.0), tmp_path / "state"
    with Cloud(hardware, port=port, settings=settings, state_file=state, secret=SECRET) as cloud:
        account = Account(cloud, hardware)
        cloud.add_fault("snapshot-stuck")
        made = account.ec2.create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    with Cloud(hardware, port=port, settings=settings, state_file=state, secret=SECRET) as cloud:
        assert Account(cloud, hardware).snapshot(made)["State"] == "completed"


def test_a_slow_snapshot_takes_its_seconds(account: Account) -> None:
    """Longer, or shorter, than the setting says."""
    account.cloud.settings.snapshot_seconds = math.inf
    account.cloud.add_fault("snapshot-slow", seconds=0.3)
    began = monotonic()
    account.make_snapshot(account.make_volume())
    assert monotonic() - began >= 0.3


def test_a_role_goes_and_comes_back(account: Account, refused: Refuse) -> None:
    """No credentials in IMDS, and those that the machine had are refused; a user's calls are not."""
    account.cloud.settings.profile_seconds = 0.0
    iam = account.client("iam")
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="saver")
    iam.add_role_to_instance_profile(InstanceProfileName="saver", RoleName="saver")
    machine = account.launch_running(IamInstanceProfile={"Name": "saver"})["InstanceId"]
    role = account.cloud.metadata(machine).role
    assert role
    inside = account.client_with("ec2", role.access_key_id, role.secret_access_key, role.token)
    account.cloud.add_fault("role-gone")
    assert account.cloud.metadata(machine).role is None
    assert refused(inside.describe_volumes).code == "AuthFailure"
    assert account.ec2.describe_volumes()["Volumes"]
    account.cloud.clear_faults()
    assert account.cloud.metadata(machine).role == role


def test_machines_are_harmed_and_healed(account: Account, hardware: FileHardware) -> None:
    """The hardware is told of full disks and dropped ssh, of this machine alone, and of their end."""
    machine, other = account.launch_with_drive(), account.launch_with_drive()
    account.cloud.add_fault("disk-full", instance_id=machine["InstanceId"])
    account.cloud.add_fault("ssh-drop", instance_id=machine["InstanceId"])
    assert hardware.harm == {machine["InstanceId"]: {account.drive_of(machine), "ssh"}}
    assert [f["kind"] for f in account.admin("GET", "faults")["faults"]] == ["disk-full", "ssh-drop"]
    account.cloud.clear_faults()
    assert hardware.harm == {}
    account.terminate(other)
    with pytest.raises(KeyError):
        account.cloud.add_fault("ssh-drop", instance_id=other["InstanceId"])


class SickHardware(FileHardware):
    """Machines that can be neither harmed nor healed."""

    def fill_disk(self, instance_id: str, disk: Disk) -> None:
        raise HardwareFailure(f"{disk.device} is not mounted")

    def heal(self, instance_id: str) -> None:
        raise HardwareFailure("it does not heal")


def test_what_cannot_be_done_to_a_machine_is_said(tmp_path: Path, port: int) -> None:
    """A fault that failed is not in force; all other faults end though a machine does not heal."""
    hardware = SickHardware(tmp_path)
    with Cloud(hardware, port=port, settings=Settings(snapshot_seconds=0.0), secret=SECRET) as cloud:
        account = Account(cloud, hardware)
        machine = account.launch_with_drive()["InstanceId"]
        answer = post(account, {"kind": "disk-full", "instance_id": machine})
        assert (answer.status_code, answer.json()) == (409, {"error": "/dev/sdf is not mounted"})
        cloud.add_fault("snapshot-stuck")
        made = account.ec2.create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
        with pytest.raises(HardwareFailure, match=f"{machine}: it does not heal"):
            cloud.clear_faults()
        assert account.snapshot(made)["State"] == "completed"
        assert account.admin("GET", "faults")["faults"] == []


def test_no_fault_hits_the_admin_routes(account: Account) -> None:
    """Status, faults and their clearing answer though every call of every service is lost."""
    account.cloud.add_fault("lost")
    assert account.admin("GET", "status")["faults"]
    account.admin("DELETE", "faults")
    assert account.ec2.describe_volumes()["Volumes"] == []


def test_calls_that_were_hit_are_counted(account: Account) -> None:
    """The log of calls says what hit each, and the fault how often it did."""
    slow = account.cloud.add_fault("slow", operations=["DescribeVolumes"], seconds=0.001)
    lost = account.cloud.add_fault("lost", operations=["DescribeVolumes"], count=1)
    fates(account.ec2.describe_volumes, 2)
    account.cloud.add_fault("throttle")
    fates(account.ec2.describe_volumes, 1)
    told = [(c["status"], c["error"], c["faults"]) for c in account.admin("GET", "calls")["calls"]]
    assert told == [
        (200, None, ["slow", "lost"]),
        (200, None, ["slow"]),
        (503, "RequestLimitExceeded", ["slow", "throttle"]),
    ]
    assert (slow.hits, lost.hits) == (3, 1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "flood"}, "no kind of fault; there are capacity, throttle"),
        ({"kind": "throttle", "zone": "us-east-1a"}, "throttle has no zone; it has count, operations, rate, seed"),
        ({"kind": "role-gone", "rate": 0.5}, "no options"),
        ({"kind": "slow"}, "slow needs seconds"),
        ({"kind": "disk-full"}, "disk-full needs instance_id"),
        ({"kind": "error", "rate": 1.5}, "between 0 and 1"),
        ({"kind": "error", "count": -1}, "not negative"),
        ({"kind": "error", "rate": "often"}, "a number"),
        ({"kind": "lost", "operations": ["CreateVolumes"]}, "no operation CreateVolumes"),
        ({"kind": "capacity", "market": "black"}, "spot or on-demand"),
    ],
)
def test_what_is_no_fault_is_refused(account: Account, wrong: dict[str, Any], says: str) -> None:
    """With 400 and the reason, and nothing is in force."""
    answer = post(account, wrong)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert account.admin("GET", "faults")["faults"] == []


def test_a_machine_s_fault_needs_a_running_machine(account: Account) -> None:
    """404 for one that is not there."""
    assert post(account, {"kind": "ssh-drop", "instance_id": "i-0"}).status_code == 404


def post(account: Account, fault: dict[str, Any]) -> requests.Response:
    return account.ask_admin("POST", "faults", json=fault)
