"""Rules of volumes."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Account, Refuse
from xportal.sandbox.hardware.files import FileHardware


def test_a_volume_is_creating_before_it_is_available(account: Account) -> None:
    """CreateVolume answers `creating`."""
    made = account.ec2.create_volume(AvailabilityZone="us-east-1a", Size=10, VolumeType="gp3")
    assert made["State"] == "creating"
    assert account.wait_volume(made["VolumeId"])["Attachments"] == []


def test_an_attached_volume_cannot_be_deleted(account: Account, refused: Refuse) -> None:
    """DeleteVolume while attached is VolumeInUse; once the machine is gone it works."""
    instance = account.launch_with_drive()
    volume = account.drive_of(instance)
    assert refused(account.ec2.delete_volume, VolumeId=volume).code == "VolumeInUse"
    account.terminate(instance)
    account.wait_volume(volume)
    account.ec2.delete_volume(VolumeId=volume)
    account.wait_until(lambda: not account.ec2.describe_volumes()["Volumes"])
    assert refused(account.ec2.delete_volume, VolumeId=volume).code == "InvalidVolume.NotFound"


def test_a_volume_is_not_smaller_than_its_snapshot(account: Account, refused: Refuse) -> None:
    """CreateVolume with less than the snapshot's size is InvalidParameterValue."""
    snapshot = account.make_snapshot(account.make_volume(20))
    no = refused(account.ec2.create_volume, AvailabilityZone="us-east-1a", SnapshotId=snapshot, Size=19)
    assert no.code == "InvalidParameterValue"
    assert "expect size >= 20GB" in no.message


def test_a_volume_has_the_settings_asked_for(account: Account) -> None:
    """Type, IOPS, throughput, encryption and tags come back as asked."""
    spec = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "d"}]}]
    volume = account.volume(account.make_volume(50, Iops=4000, Throughput=500, Encrypted=True, TagSpecifications=spec))
    told = {name: volume[name] for name in ("Size", "VolumeType", "Iops", "Throughput", "Encrypted", "Tags")}
    assert told == {
        "Size": 50,
        "VolumeType": "gp3",
        "Iops": 4000,
        "Throughput": 500,
        "Encrypted": True,
        "Tags": spec[0]["Tags"],
    }
    assert volume["KmsKeyId"].startswith("arn:aws:kms:us-east-1:")


def test_the_default_type_is_gp2(account: Account) -> None:
    """Without a type it is gp2, and gp3 alone has its defaults of 3000 and 125."""
    made = account.ec2.create_volume(AvailabilityZone="us-east-1a", Size=10)
    assert made["VolumeType"] == "gp2"
    gp3 = account.volume(account.make_volume())
    assert (gp3["Iops"], gp3["Throughput"]) == (3000, 125)


@pytest.mark.parametrize(
    "volume",
    [
        {"Throughput": 1000, "Iops": 3000},
        {"Throughput": 124},
        {"Iops": 2999},
        {"Size": 0},
        {"Size": 70_000},
        {"VolumeType": "gp9"},
    ],
)
def test_impossible_settings_are_refused(account: Account, refused: Refuse, volume: dict[str, object]) -> None:
    """gp3's limits hold, and types that are none are refused."""
    request = {"AvailabilityZone": "us-east-1a", "Size": 10, "VolumeType": "gp3", **volume}
    assert refused(account.ec2.create_volume, **request).code == "InvalidParameterValue"


def test_a_snapshot_of_an_encrypted_volume_is_encrypted(account: Account) -> None:
    """Encryption goes down the line: volume, snapshot, volume."""
    snapshot = account.make_snapshot(account.make_volume(Encrypted=True))
    assert account.snapshot(snapshot)["Encrypted"] is True
    again = account.ec2.create_volume(AvailabilityZone="us-east-1a", SnapshotId=snapshot)
    assert again["Encrypted"] is True


def test_a_volume_is_attached_once_and_in_its_zone(account: Account, refused: Refuse) -> None:
    """Second attach is VolumeInUse, another zone ZoneMismatch, a used device refused, then it attaches and detaches."""
    here, there = account.launch_running("us-east-1a"), account.launch_running("us-east-1b")
    volume, other = account.make_volume(), account.make_volume()
    attach = account.ec2.attach_volume
    no = refused(attach, VolumeId=volume, InstanceId=there["InstanceId"], Device="/dev/sdf")
    assert no.code == "InvalidVolume.ZoneMismatch"
    reply = attach(VolumeId=volume, InstanceId=here["InstanceId"], Device="/dev/sdf")
    assert reply["State"] == "attaching"
    account.wait_until(lambda: account.volume(volume)["Attachments"][0]["State"] == "attached")
    assert account.volume(volume)["State"] == "in-use"
    assert refused(attach, VolumeId=volume, InstanceId=here["InstanceId"], Device="/dev/sdg").code == "VolumeInUse"
    no = refused(attach, VolumeId=other, InstanceId=here["InstanceId"], Device="/dev/sdf")
    assert no.code == "InvalidParameterValue"
    account.ec2.detach_volume(VolumeId=volume)
    assert account.wait_volume(volume)["Attachments"] == []
    assert refused(account.ec2.detach_volume, VolumeId=volume).code == "IncorrectState"


def test_the_root_volume_stays(account: Account, refused: Refuse) -> None:
    """DetachVolume on the root volume is refused."""
    instance = account.launch_running()
    root = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert refused(account.ec2.detach_volume, VolumeId=root).code == "OperationNotPermitted"


def test_a_volume_token_makes_one_volume(account: Account, refused: Refuse) -> None:
    """CreateVolume with the same ClientToken gives the same volume; with other arguments a mismatch."""
    request = {"AvailabilityZone": "us-east-1a", "Size": 10, "ClientToken": "once"}
    first = account.ec2.create_volume(**request)
    assert account.ec2.create_volume(**request)["VolumeId"] == first["VolumeId"]
    assert refused(account.ec2.create_volume, **{**request, "Size": 11}).code == "IdempotentParameterMismatch"


def test_a_volume_only_grows(account: Account, refused: Refuse, hardware: FileHardware) -> None:
    """ModifyVolume grows the disk, and refuses to shrink it."""
    volume = account.make_volume(10)
    account.ec2.modify_volume(VolumeId=volume, Size=12)
    assert hardware.volume_path(volume).stat().st_size == 12 * 1024**3
    assert refused(account.ec2.modify_volume, VolumeId=volume, Size=11).code == "InvalidParameterValue"


def test_a_volume_s_last_modification_is_told(account: Account, refused: Refuse) -> None:
    """What ModifyVolume changed, by id and by filter; of a volume that was never modified: NotFound."""
    volume, other = account.make_volume(10), account.make_volume(10)
    account.ec2.modify_volume(VolumeId=volume, Size=11)
    account.ec2.modify_volume(VolumeId=volume, Size=12)
    grown = [{"Name": "target-size", "Values": ["12"]}, {"Name": "modification-state", "Values": ["completed"]}]
    for request in ({"VolumeIds": [volume]}, {"Filters": grown}, {}):
        [told] = account.ec2.describe_volumes_modifications(**request)["VolumesModifications"]
        assert (told["VolumeId"], told["OriginalSize"], told["TargetSize"], told["Progress"]) == (volume, 11, 12, 100)
    unknown = refused(account.ec2.describe_volumes_modifications, VolumeIds=[other])
    assert unknown.code == "InvalidVolumeModification.NotFound"


def test_volumes_are_found_by_their_attachment(account: Account) -> None:
    """The attachment filters, delete-on-termination among them, find the drive and not the root."""
    instance = account.launch_with_drive()
    volume = account.drive_of(instance)
    for name, value in {
        "attachment.instance-id": instance["InstanceId"],
        "attachment.device": "/dev/sdf",
        "attachment.delete-on-termination": "false",
        "volume-id": volume,
        "size": "10",
    }.items():
        found = account.ec2.describe_volumes(Filters=[{"Name": name, "Values": [value]}])["Volumes"]
        assert volume in [v["VolumeId"] for v in found], name
    found = account.ec2.describe_volumes(Filters=[{"Name": "attachment.device", "Values": ["/dev/sd?"]}])["Volumes"]
    assert [v["VolumeId"] for v in found] == [volume]


def test_volumes_come_in_pages(account: Account) -> None:
    """Every volume is told once over the pages."""
    made = {account.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"] for _ in range(11)}
    pages = list(account.ec2.get_paginator("describe_volumes").paginate(MaxResults=5))
    told = [v["VolumeId"] for page in pages for v in page["Volumes"]]
    assert [len(page["Volumes"]) for page in pages] == [5, 5, 1]
    assert set(told) == made


@pytest.mark.parametrize("zone", ["us-east-1z", "eu-west-1a", ""])
def test_a_zone_must_be_of_the_region(account: Account, refused: Refuse, zone: str) -> None:
    """CreateVolume in a zone that the region does not have is refused."""
    no = refused(account.ec2.create_volume, AvailabilityZone=zone, Size=1)
    assert no.code == "InvalidZone.NotFound"
