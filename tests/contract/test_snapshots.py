"""Rules of snapshots."""

from __future__ import annotations

import math

import pytest

from tests.contract.conftest import Account, Refuse
from xportal.sandbox.api.ec2.backend import all_backends
from xportal.sandbox.hardware.files import FileHardware


def test_a_snapshot_is_pending_before_it_is_completed(account: Account) -> None:
    """CreateSnapshot answers `pending`, with progress, and it completes by itself."""
    made = account.ec2.create_snapshot(VolumeId=account.make_volume(), Description="first")
    assert (made["State"], made["Description"]) == ("pending", "first")
    assert account.snapshot(made["SnapshotId"])["Progress"] != "100%"
    assert account.wait_snapshot(made["SnapshotId"])["Progress"] == "100%"


def test_create_volume_from_a_pending_snapshot_is_refused(account: Account, refused: Refuse) -> None:
    """A volume cannot be made from a snapshot that is not completed."""
    made = account.ec2.create_snapshot(VolumeId=account.make_volume())
    no = refused(account.ec2.create_volume, AvailabilityZone="us-east-1a", SnapshotId=made["SnapshotId"])
    assert (no.code, no.message) == ("IncorrectState", "Snapshot is in invalid state - pending")


def test_run_instances_from_a_pending_snapshot_is_refused(account: Account, refused: Refuse) -> None:
    """A launch cannot restore a snapshot that is not completed, and leaves nothing behind."""
    made = account.ec2.create_snapshot(VolumeId=account.make_volume())
    no = refused(account.launch, BlockDeviceMappings=[drive(SnapshotId=made["SnapshotId"])])
    assert no.code == "IncorrectState"
    assert account.ec2.describe_instances()["Reservations"] == []
    assert len(account.ec2.describe_volumes()["Volumes"]) == 1


def test_the_size_of_a_snapshot_is_frozen(account: Account) -> None:
    """Growing the volume changes neither its earlier snapshots nor what is made from them."""
    volume = account.make_volume(10)
    snapshot = account.make_snapshot(volume)
    account.ec2.modify_volume(VolumeId=volume, Size=30)
    assert account.volume(volume)["Size"] == 30
    assert account.snapshot(snapshot)["VolumeSize"] == 10
    restored = account.ec2.create_volume(AvailabilityZone="us-east-1b", SnapshotId=snapshot)
    assert restored["Size"] == 10


def test_a_snapshot_holds_the_bytes_of_its_point_in_time(account: Account, hardware: FileHardware) -> None:
    """What is written after CreateSnapshot answered is not in it; what was written before is."""
    volume = account.make_volume()
    write(hardware, volume, b"before")
    made = account.ec2.create_snapshot(VolumeId=volume)
    write(hardware, volume, b"after!")
    account.wait_snapshot(made["SnapshotId"])
    restored = account.ec2.create_volume(AvailabilityZone="us-east-1c", SnapshotId=made["SnapshotId"], Size=20)
    account.wait_volume(restored["VolumeId"])
    path = hardware.volume_path(restored["VolumeId"])
    with path.open("rb") as disk:
        assert disk.read(6) == b"before"
    assert path.stat().st_size == 20 * 1024**3


def test_a_snapshot_outlives_its_volume(account: Account) -> None:
    """Deleting the volume, even while the snapshot is pending, does the snapshot no harm."""
    volume = account.make_volume()
    made = account.ec2.create_snapshot(VolumeId=volume)
    account.ec2.delete_volume(VolumeId=volume)
    assert account.wait_snapshot(made["SnapshotId"])["VolumeId"] == volume


def test_a_pending_snapshot_is_deleted_when_it_completes(account: Account, refused: Refuse) -> None:
    """DeleteSnapshot on a pending one is accepted and takes effect at its completion."""
    made = account.ec2.create_snapshot(VolumeId=account.make_volume())
    account.ec2.delete_snapshot(SnapshotId=made["SnapshotId"])
    assert account.snapshot(made["SnapshotId"])["State"] == "pending"
    account.wait_until(lambda: not account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])
    no = refused(account.ec2.delete_snapshot, SnapshotId=made["SnapshotId"])
    assert no.code == "InvalidSnapshot.NotFound"


def test_only_own_snapshots_belong_to_self(account: Account) -> None:
    """OwnerIds=self leaves out the public ones, which are listed without it and under `amazon`."""
    own = account.make_snapshot(account.make_volume())
    assert ids(account, OwnerIds=["self"]) == [own]
    assert ids(account, OwnerIds=["123456789012"]) == [own]
    public = ids(account, OwnerIds=["amazon"])
    assert public
    assert own not in public
    assert set(ids(account)) == {own, *public}


def test_tags_are_on_a_snapshot_from_the_start(account: Account) -> None:
    """TagSpecifications tag in the creating call, and filters on tag and key find it."""
    spec = [{"ResourceType": "snapshot", "Tags": [{"Key": "xportal:drive", "Value": "a*b"}]}]
    made = account.ec2.create_snapshot(VolumeId=account.make_volume(), TagSpecifications=spec)
    assert made["Tags"] == spec[0]["Tags"]
    found = [{"Name": "tag:xportal:drive", "Values": [r"a\*b"]}]
    assert ids(account, Filters=found) == [made["SnapshotId"]]
    assert ids(account, Filters=[{"Name": "tag-key", "Values": ["xportal:*"]}]) == [made["SnapshotId"]]
    assert ids(account, Filters=[{"Name": "tag:xportal:drive", "Values": ["acb"]}]) == []


def test_snapshots_come_in_pages(account: Account, refused: Refuse) -> None:
    """MaxResults gives a token until all are told, each once; it does not go with ids."""
    two = [account.make_volume(), account.make_volume()]
    made = {account.ec2.create_snapshot(VolumeId=two[n % 2])["SnapshotId"] for n in range(7)}
    first = account.ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5)
    assert len(first["Snapshots"]) == 5
    pages = account.ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], MaxResults=5)
    told = [snapshot["SnapshotId"] for page in pages for snapshot in page["Snapshots"]]
    assert len(told) == 7
    assert set(told) == made
    no = refused(account.ec2.describe_snapshots, SnapshotIds=list(made), MaxResults=5)
    assert no.code == "InvalidParameterCombination"


def test_a_page_goes_on_where_it_ended_though_a_record_went(account: Account) -> None:
    """Deleting the last record told does not make the next page skip one."""
    volume = account.make_volume()
    made = [account.make_snapshot(volume) for _ in range(6)]
    first = account.ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5)
    account.ec2.delete_snapshot(SnapshotId=made[4])
    rest = account.ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5, NextToken=first["NextToken"])
    assert [snapshot["SnapshotId"] for snapshot in rest["Snapshots"]] == made[5:]


def test_the_snapshot_of_an_image_is_in_use(account: Account, refused: Refuse) -> None:
    """DeleteSnapshot on the snapshot behind an image is refused."""
    image = account.ec2.describe_images(ImageIds=[account.image_id])["Images"][0]
    behind = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert refused(account.ec2.delete_snapshot, SnapshotId=behind).code == "InvalidSnapshot.InUse"


def test_a_volume_being_made_has_no_snapshots(account: Account, refused: Refuse, hardware: FileHardware) -> None:
    """CreateSnapshot on a volume that is not there is refused, by id and by state."""
    assert refused(account.ec2.create_snapshot, VolumeId="vol-0123456789abcdef0").code == "InvalidVolume.NotFound"
    volume = account.make_volume()
    hardware.volume_path(volume).unlink()
    assert refused(account.ec2.create_snapshot, VolumeId=volume).status == 500
    assert ids(account, OwnerIds=["self"]) == []


def test_a_volume_has_five_pending_snapshots_at_most(account: Account, refused: Refuse) -> None:
    """The sixth is ConcurrentSnapshotLimitExceeded."""
    account.cloud.settings.snapshot_seconds = math.inf
    volume = account.make_volume()
    for _ in range(5):
        account.ec2.create_snapshot(VolumeId=volume)
    assert refused(account.ec2.create_snapshot, VolumeId=volume).code == "ConcurrentSnapshotLimitExceeded"


def test_a_snapshot_can_be_held_pending(account: Account) -> None:
    """With an endless duration a snapshot stays pending, at 0%."""
    account.cloud.settings.snapshot_seconds = math.inf
    made = account.ec2.create_snapshot(VolumeId=account.make_volume())
    assert account.snapshot(made["SnapshotId"])["Progress"] == "0%"


def test_a_snapshot_takes_as_long_as_what_changed(account: Account, hardware: FileHardware) -> None:
    """At a set rate: all data of the first one, then what changed since, also in a volume that was made from it."""
    account.cloud.settings.snapshot_seconds = 0.0
    account.cloud.settings.snapshot_bytes_per_second = 1024**2
    volume = account.make_volume()
    write(hardware, volume, b"x" * 1024**2)
    assert seconds_of(account, volume) == pytest.approx(1.0, abs=0.01)
    assert seconds_of(account, volume) == 0.0
    write(hardware, volume, b"y" * 256 * 1024)
    snapshot = account.make_snapshot(volume)
    restored = account.make_volume(SnapshotId=snapshot)
    write(hardware, restored, b"z" * 128 * 1024)
    assert seconds_of(account, restored) == pytest.approx(0.125, abs=0.01)
    account.ec2.delete_snapshot(SnapshotId=snapshot)
    assert seconds_of(account, account.make_volume()) == 0.0
    account.cloud.settings.snapshot_bytes_per_second = None
    write(hardware, volume, b"x" * 1024**2)
    assert seconds_of(account, volume) == 0.0


def seconds_of(account: Account, volume_id: str) -> float:
    """How long a new snapshot of the volume is to be pending, as the cloud's records say."""
    made = account.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    [snapshot] = [b.snapshots[made] for b in all_backends() if made in b.snapshots]
    assert snapshot.completes_at
    return float((snapshot.completes_at - snapshot.start_time).total_seconds())


def drive(**ebs: object) -> dict[str, object]:
    return {"DeviceName": "/dev/sdf", "Ebs": {"VolumeType": "gp3", **ebs}}


def write(hardware: FileHardware, volume_id: str, data: bytes) -> None:
    with hardware.volume_path(volume_id).open("r+b") as disk:
        disk.write(data)


def ids(account: Account, **given: object) -> list[str]:
    return [snapshot["SnapshotId"] for snapshot in account.ec2.describe_snapshots(**given)["Snapshots"]]
