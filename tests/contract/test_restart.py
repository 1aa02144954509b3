"""The cloud stops and starts again: drives' records above all, and machines that still run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.contract.conftest import Account
from tests.user import SECRET
from xportal.errors import HardwareFailure
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state"


def start(hardware: FileHardware, state_file: Path | None, **settings: float) -> Account:
    """A started cloud; stop it with `account.cloud.stop()`."""
    quick = Settings(
        **{"snapshot_seconds": 0.3, "invisible_seconds": 0.0, "mapping_seconds": 0.0, "iam_seconds": 0.0, **settings}
    )
    cloud = Cloud(hardware, state_file=state_file, settings=quick, secret=SECRET)
    cloud.start()
    return Account(cloud, hardware)


def test_everything_is_there_again(hardware: FileHardware, state_file: Path) -> None:
    """Volumes, snapshots with tags, key pairs, groups and a machine that still runs survive a restart."""
    account = start(hardware, state_file)
    instance = account.launch_with_drive(ClientToken="t")
    snapshot = account.make_snapshot(account.drive_of(instance))
    account.ec2.create_tags(Resources=[snapshot], Tags=[{"Key": "xportal:drive", "Value": "d"}])
    account.import_key("xportal-d")
    account.ec2.modify_volume(VolumeId=account.drive_of(instance), Size=20)
    before = everything(account)
    account.cloud.stop()
    account = start(hardware, state_file)
    try:
        assert everything(account) == before
        account.launch(ClientToken="t", BlockDeviceMappings=[account.drive()])
        assert len(account.all_instances()) == 1
        account.terminate(instance)
    finally:
        account.cloud.stop()


def test_a_machine_that_lost_its_power_is_terminated(hardware: FileHardware, state_file: Path, tmp_path: Path) -> None:
    """A machine that does not run any more is terminated, its drive available with its bytes."""
    account = start(hardware, state_file)
    instance = account.launch_spot(BlockDeviceMappings=[account.drive()])
    drive = account.drive_of(instance)
    account.cloud.stop()
    account = start(FileHardware(tmp_path), state_file)
    try:
        assert account.instance(instance["InstanceId"])["State"]["Name"] == "terminated"
        assert account.volume(drive)["State"] == "available"
        assert account.spot_request(instance)["State"] == "closed"
        account.make_snapshot(drive)
    finally:
        account.cloud.stop()


def test_a_machine_that_nobody_knows_loses_its_power(hardware: FileHardware, state_file: Path) -> None:
    """After a lost state file a machine still running is switched off: it would never be terminated."""
    account = start(hardware, state_file)
    instance = account.launch_running()
    account.cloud.stop()
    state_file.unlink()
    account = start(hardware, state_file)
    account.cloud.stop()
    assert hardware.running() == frozenset()
    assert hardware.cuts == [instance["InstanceId"]]


def test_a_pending_snapshot_goes_on(hardware: FileHardware, state_file: Path) -> None:
    """What was pending completes after the restart; what was to be deleted is deleted."""
    account = start(hardware, state_file)
    volume = account.make_volume()
    kept = account.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    deleted = account.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    account.ec2.delete_snapshot(SnapshotId=deleted)
    account.cloud.stop()
    account = start(hardware, state_file)
    try:
        account.wait_snapshot(kept)
        account.wait_until(lambda: len(account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1)
        account.wait_until(lambda: not hardware.snapshot_path(deleted).exists())
        assert hardware.snapshot_path(kept).exists()
    finally:
        account.cloud.stop()


def test_an_announced_interruption_still_comes(hardware: FileHardware, state_file: Path) -> None:
    """The power goes at the announced time though the cloud was restarted in between."""
    account = start(hardware, state_file)
    instance = account.launch_spot()["InstanceId"]
    account.admin("POST", "interrupt", instance_id=instance, notice_seconds=0.5)
    account.cloud.stop()
    account = start(hardware, state_file)
    try:
        account.wait_instance(instance, "terminated")
    finally:
        account.cloud.stop()


def test_a_changing_call_is_saved_before_its_answer(hardware: FileHardware, state_file: Path, tmp_path: Path) -> None:
    """A state file copied right after an answer holds what was answered."""
    account = start(hardware, state_file)
    volume = account.make_volume()
    snapshot = account.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    copy = tmp_path / "copy"
    copy.write_bytes(state_file.read_bytes())
    account.cloud.stop()
    account = start(hardware, copy)
    try:
        account.wait_snapshot(snapshot)
    finally:
        account.cloud.stop()


def test_an_unreadable_state_is_said_and_left_alone(hardware: FileHardware, state_file: Path) -> None:
    """Start fails with a hint, the file is as it was, and the next start with a good file works."""
    state_file.parent.mkdir()
    state_file.write_bytes(b"nonsense")
    with pytest.raises(HardwareFailure, match="cannot read the sandbox's state"):
        start(hardware, state_file)
    assert state_file.read_bytes() == b"nonsense"
    start(hardware, None).cloud.stop()


def test_a_taken_port_is_an_error(hardware: FileHardware) -> None:
    """Start on a port that somebody has raises OSError and leaves nothing running."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Cloud(hardware, port=taken.getsockname()[1]).start()
    start(hardware, None).cloud.stop()


def test_one_cloud_at_a_time(account: Account, tmp_path: Path) -> None:
    """A second cloud in the process is refused and the first goes on; clouds after each other know nothing."""
    with pytest.raises(HardwareFailure, match="one sandbox cloud"):
        Cloud(FileHardware(tmp_path)).start()
    account.make_volume()
    account.cloud.stop()
    account.cloud.stop()
    with Cloud(FileHardware(tmp_path), secret=SECRET) as cloud:
        assert Account(cloud, account.hardware).ec2.describe_volumes()["Volumes"] == []


def everything(account: Account) -> dict[str, object]:
    """All records, the answers' own ids aside."""
    ec2 = account.ec2
    answers = {
        "instances": account.all_instances(),
        "volumes": ec2.describe_volumes()["Volumes"],
        "modifications": ec2.describe_volumes_modifications()["VolumesModifications"],
        "snapshots": ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"],
        "keys": ec2.describe_key_pairs()["KeyPairs"],
        "groups": ec2.describe_security_groups()["SecurityGroups"],
        "subnets": ec2.describe_subnets()["Subnets"],
    }
    return dict(answers)
