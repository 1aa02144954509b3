"""Rules of CreateSnapshots: all of an instance's volumes at one moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.conftest import Account, Refuse, wait_for
from tests.user import SECRET
from xportal.errors import HardwareFailure
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware


def launch_with_two(account: Account, **given: Any) -> dict[str, Any]:
    """A running instance with drives at /dev/sdf and /dev/sdg."""
    second = {**account.drive(), "DeviceName": "/dev/sdg"}
    return account.launch_running(BlockDeviceMappings=[account.drive(), second], **given)


def volumes_of(instance: dict[str, Any]) -> dict[str, str]:
    """Volume ids by device."""
    return {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"]}


def take(account: Account, instance: dict[str, Any], *, given: dict[str, Any] | None = None, **spec: Any) -> Any:
    """The snapshots of a CreateSnapshots call."""
    request = {"InstanceSpecification": {"InstanceId": instance["InstanceId"], **spec}, **(given or {})}
    return account.ec2.create_snapshots(**request)["Snapshots"]


def test_every_volume_has_its_snapshot(account: Account) -> None:
    """Root and data volumes, all pending, of the same StartTime, with the description; each completes."""
    instance = launch_with_two(account)
    made = take(account, instance, given={"Description": "all"})
    assert {s["VolumeId"] for s in made} == set(volumes_of(instance).values())
    assert {(s["State"], s["Description"], s["OwnerId"]) for s in made} == {("pending", "all", "123456789012")}
    assert len({s["StartTime"] for s in made}) == 1
    for snapshot in made:
        account.wait_snapshot(snapshot["SnapshotId"])


def test_volumes_can_be_excluded(account: Account, refused: Refuse) -> None:
    """The root volume by its flag, data volumes by id; an id that is no data volume of the instance is refused."""
    instance = launch_with_two(account)
    volumes = volumes_of(instance)
    first, second = volumes["/dev/sdf"], volumes["/dev/sdg"]
    assert {s["VolumeId"] for s in take(account, instance, ExcludeBootVolume=True)} == {first, second}
    [alone] = take(account, instance, ExcludeBootVolume=True, ExcludeDataVolumeIds=[first])
    assert alone["VolumeId"] == second
    for wrong in (volumes["/dev/xvda"], account.make_volume(), "vol-0123456789abcdef0"):
        assert refused(take, account, instance, ExcludeDataVolumeIds=[wrong]).code == "InvalidParameterValue"
    everything = {"ExcludeBootVolume": True, "ExcludeDataVolumeIds": [first, second]}
    assert refused(take, account, instance, **everything).code == "InvalidParameterValue"


def test_tags_are_given_and_copied(account: Account, refused: Refuse) -> None:
    """Those of the request on every snapshot, those of its volume with CopyTagsFromSource=volume."""
    instance = launch_with_two(account)
    volumes = volumes_of(instance)
    for device, name in (("/dev/sdf", "data"), ("/dev/sdg", "models")):
        account.ec2.create_tags(Resources=[volumes[device]], Tags=[{"Key": "Name", "Value": name}])
    given = {"TagSpecifications": [{"ResourceType": "snapshot", "Tags": [{"Key": "set", "Value": "1"}]}]}
    plain = take(account, instance, given=given, ExcludeBootVolume=True)
    assert [tags_of(s) for s in plain] == [{"set": "1"}] * 2
    copied = take(account, instance, given={**given, "CopyTagsFromSource": "volume"}, ExcludeBootVolume=True)
    assert {s["VolumeId"]: tags_of(s) for s in copied} == {
        volumes["/dev/sdf"]: {"Name": "data", "set": "1"},
        volumes["/dev/sdg"]: {"Name": "models", "set": "1"},
    }
    assert refused(take, account, instance, given={"CopyTagsFromSource": "instance"}).code == "InvalidParameterValue"


def test_a_set_is_of_one_point_in_time(account: Account, hardware: FileHardware) -> None:
    """What was written to any volume before the call is in, what came after it is not."""
    instance = launch_with_two(account)
    volumes = [volumes_of(instance)[device] for device in ("/dev/sdf", "/dev/sdg")]
    for volume in volumes:
        hardware.volume_path(volume).write_bytes(b"before")
    made = take(account, instance, ExcludeBootVolume=True)
    for volume in volumes:
        hardware.volume_path(volume).write_bytes(b"after!")
    assert [hardware.snapshot_path(s["SnapshotId"]).read_bytes()[:6] for s in made] == [b"before"] * 2


class HalfHardware(FileHardware):
    """Hardware whose second volume cannot be copied."""

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        if list((self.directory / "snapshots").iterdir()):
            raise HardwareFailure("no space")
        return super().create_snapshot(snapshot_id, volume_id)


def test_a_set_is_all_or_none(tmp_path: Path, port: int, refused: Refuse) -> None:
    """When one volume cannot be copied there is no snapshot of any, and no bytes either."""
    hardware = HalfHardware(tmp_path)
    with Cloud(hardware, port=port, settings=Settings(snapshot_seconds=0.0), secret=SECRET) as cloud:
        account = Account(cloud, hardware)
        instance = launch_with_two(account)
        assert refused(take, account, instance).status == 500
        assert account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
        assert list((tmp_path / "snapshots").iterdir()) == []


def test_one_volume_at_its_limit_refuses_the_set(account: Account, refused: Refuse) -> None:
    """Five snapshots of one volume are pending: the set is refused whole."""
    account.cloud.settings.snapshot_seconds = 60.0
    instance = launch_with_two(account)
    for _ in range(5):
        account.ec2.create_snapshot(VolumeId=volumes_of(instance)["/dev/sdg"])
    assert refused(take, account, instance).code == "ConcurrentSnapshotLimitExceeded"
    assert len(account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 5


def test_when_one_of_a_set_fails_all_fail(account: Account) -> None:
    """All of them end in state error."""
    instance = launch_with_two(account)
    account.cloud.add_fault("snapshot-fail", count=1)
    for snapshot in take(account, instance):
        wait_for(lambda id_=snapshot["SnapshotId"]: account.snapshot(id_), lambda s: s["State"] == "error")  # type: ignore[misc]


def test_a_stopped_instance_has_its_set(account: Account, refused: Refuse) -> None:
    """Volumes of a stopped instance are copied, those of a terminated one are its no more."""
    instance = launch_with_two(account)
    account.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    account.wait_instance(instance["InstanceId"], "stopped")
    assert len(take(account, instance, ExcludeBootVolume=True)) == 2
    account.terminate(instance)
    assert refused(take, account, instance).code == "InvalidParameterValue"
    assert refused(take, account, {"InstanceId": "i-0123456789abcdef0"}).code == "InvalidInstanceID.NotFound"


def test_a_dry_run_takes_no_set(account: Account, refused: Refuse) -> None:
    """DryRunOperation, and nothing is made."""
    assert refused(take, account, launch_with_two(account), given={"DryRun": True}).code == "DryRunOperation"
    assert account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_snapshots_of_a_volume_keep_their_distance(account: Account, refused: Refuse) -> None:
    """With the setting that AWS has: SnapshotCreationPerVolumeRateExceeded, also for a set with that volume."""
    instance = launch_with_two(account)
    account.cloud.settings.snapshot_interval_seconds = 15.0
    first = volumes_of(instance)["/dev/sdf"]
    account.ec2.create_snapshot(VolumeId=first)
    assert refused(account.ec2.create_snapshot, VolumeId=first).code == "SnapshotCreationPerVolumeRateExceeded"
    assert refused(take, account, instance).code == "SnapshotCreationPerVolumeRateExceeded"
    account.cloud.settings.snapshot_interval_seconds = 0.0
    account.ec2.create_snapshot(VolumeId=first)


def tags_of(snapshot: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
