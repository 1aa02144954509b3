"""Rules of RunInstances."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.conftest import Account, Refuse
from xportal.sandbox.hardware.files import FileHardware

DEEP_LEARNING = "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"


def test_a_launch_is_pending_then_running(account: Account) -> None:
    """The reply is pending, without addresses or disks; running, it has both."""
    made = account.launch()
    assert made["State"]["Name"] == "pending"
    assert made["BlockDeviceMappings"] == []
    assert "PublicIpAddress" not in made
    running = account.wait_instance(made["InstanceId"], "running")
    assert running["PublicIpAddress"] == running["PublicDnsName"]
    assert running["PrivateIpAddress"] == running["NetworkInterfaces"][0]["PrivateIpAddress"]


def test_the_root_volume_comes_from_the_image(account: Account) -> None:
    """A mapping of the drive alone still gives a root volume, of the image's size and type."""
    instance = account.launch_with_drive()
    mapping = {m["DeviceName"]: m["Ebs"] for m in instance["BlockDeviceMappings"]}
    assert list(mapping) == ["/dev/xvda", "/dev/sdf"]
    assert mapping["/dev/xvda"]["DeleteOnTermination"] is True
    assert mapping["/dev/sdf"]["DeleteOnTermination"] is False
    root = account.volume(mapping["/dev/xvda"]["VolumeId"])
    assert (root["Size"], root["VolumeType"]) == (8, "gp3")


def test_the_root_volume_is_encrypted_if_asked_for(account: Account) -> None:
    """Though the image's snapshot is not: a flag in the mapping of the root device is enough."""
    root = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}
    for asked, encrypted in (([], False), ([root], True)):
        instance = account.launch_running(BlockDeviceMappings=asked)
        mapping = {m["DeviceName"]: m["Ebs"] for m in instance["BlockDeviceMappings"]}
        assert account.volume(mapping["/dev/xvda"]["VolumeId"])["Encrypted"] is encrypted


def test_the_drive_has_the_settings_asked_for(account: Account) -> None:
    """Iops, Throughput and Encrypted of the mapping reach the volume, in the zone of the launch."""
    ebs = {"VolumeSize": 30, "VolumeType": "gp3", "Iops": 5000, "Throughput": 600, "Encrypted": True}
    instance = account.launch_running("us-east-1c", BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    drive = account.volume(account.drive_of(instance))
    assert [drive[name] for name in ("Size", "Iops", "Throughput", "Encrypted")] == [30, 5000, 600, True]
    assert drive["AvailabilityZone"] == instance["Placement"]["AvailabilityZone"] == "us-east-1c"


def test_a_launch_restores_a_snapshot(account: Account, hardware: FileHardware) -> None:
    """The drive in the launch has the snapshot's bytes, in any zone."""
    volume = account.make_volume()
    with hardware.volume_path(volume).open("r+b") as disk:
        disk.write(b"data")
    snapshot = account.make_snapshot(volume)
    instance = account.launch_running(
        "us-east-1d", BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot}}]
    )
    drive = account.drive_of(instance)
    with hardware.volume_path(drive).open("rb") as disk:
        assert disk.read(4) == b"data"
    assert account.volume(drive)["SnapshotId"] == snapshot


def test_the_drive_in_a_launch_is_not_smaller_than_its_snapshot(account: Account, refused: Refuse) -> None:
    """Less than the snapshot's size in a mapping is InvalidBlockDeviceMapping."""
    snapshot = account.make_snapshot(account.make_volume(20))
    ebs = {"SnapshotId": snapshot, "VolumeSize": 10}
    no = refused(account.launch, BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    assert (no.code, "expect size >= 20GB" in no.message) == ("InvalidBlockDeviceMapping", True)


def test_the_root_volume_is_not_smaller_than_the_image(account: Account, refused: Refuse) -> None:
    """A root volume below the image's size is refused; a larger one is made."""
    small = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 7}}]
    assert refused(account.launch, BlockDeviceMappings=small).code == "InvalidBlockDeviceMapping"
    large = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30}}]
    instance = account.launch_running(BlockDeviceMappings=large)
    assert account.volume(instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])["Size"] == 30


def test_delete_on_termination_decides(account: Account, hardware: FileHardware) -> None:
    """At the end the root goes, the drive kept stays with its bytes, and a volume not kept goes."""
    keep = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10, "DeleteOnTermination": False}}
    lose = {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 10}}
    instance = account.launch_running(BlockDeviceMappings=[keep, lose])
    drive = account.drive_of(instance)
    account.terminate(instance)
    account.wait_until(lambda: len(account.ec2.describe_volumes()["Volumes"]) == 1)
    assert account.volume(drive)["State"] == "available"
    assert [path.name for path in (hardware.directory / "volumes").iterdir()] == [drive]


def test_the_first_question_about_a_new_instance_finds_nothing(account: Account, refused: Refuse) -> None:
    """Just after a launch DescribeInstances by id is InvalidInstanceID.NotFound, once."""
    account.cloud.settings.invisible_seconds = 60
    instance = account.launch()["InstanceId"]
    assert refused(account.ec2.describe_instances, InstanceIds=[instance]).code == "InvalidInstanceID.NotFound"
    assert account.ec2.describe_instances(InstanceIds=[instance])["Reservations"]


def test_the_same_token_gives_the_same_instance(account: Account) -> None:
    """A retry with the same ClientToken launches nothing more."""
    first = account.launch(ClientToken="token-1")
    assert account.launch(ClientToken="token-1")["InstanceId"] == first["InstanceId"]
    assert len(account.all_instances()) == 1
    found = account.ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["token-1"]}])
    assert found["Reservations"][0]["Instances"][0]["InstanceId"] == first["InstanceId"]


def test_a_token_with_other_arguments_is_a_mismatch(account: Account, refused: Refuse) -> None:
    """The same ClientToken with another type is IdempotentParameterMismatch."""
    account.launch(ClientToken="token-2")
    no = refused(account.launch, ClientToken="token-2", InstanceType="t3.large")
    assert no.code == "IdempotentParameterMismatch"


def test_a_token_of_a_terminated_instance_is_refused(account: Account, refused: Refuse) -> None:
    """A ClientToken whose instance ended is IdempotentInstanceTerminated."""
    instance = account.launch(ClientToken="token-3")
    account.terminate(instance)
    assert refused(account.launch, ClientToken="token-3").code == "IdempotentInstanceTerminated"


def test_a_token_of_a_launch_without_capacity_is_free(account: Account, refused: Refuse) -> None:
    """A launch that failed has not used its ClientToken."""
    account.admin("POST", "faults", kind="capacity", count=1)
    assert refused(account.launch, ClientToken="token-4").code == "InsufficientInstanceCapacity"
    assert account.launch(ClientToken="token-4")["InstanceId"]


def test_user_data_has_16_kb(account: Account, refused: Refuse) -> None:
    """16,384 bytes are accepted, one more is InvalidParameterValue: before base64."""
    account.launch(UserData="x" * 16_384)
    no = refused(account.launch, UserData="x" * 16_385)
    assert (no.code, no.message) == ("InvalidParameterValue", "User data is limited to 16384 bytes")


def test_user_data_reaches_the_instance_unchanged(account: Account) -> None:
    """DescribeInstanceAttribute and IMDS tell the bytes that were given."""
    data = "#cloud-config\n# ünï\n"
    instance = account.launch(UserData=data)["InstanceId"]
    told = account.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    assert base64.b64decode(told["UserData"]["Value"]).decode() == data
    assert account.cloud.metadata(instance).user_data == data.encode()


def test_no_capacity_is_http_500_and_leaves_nothing(account: Account, refused: Refuse) -> None:
    """InsufficientInstanceCapacity on demand: by zone, as often as asked, with HTTP 500."""
    account.admin("POST", "faults", kind="capacity", type="t3.medium", zone="us-east-1b", count=2)
    mapping = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}}]
    for _ in range(2):
        no = refused(account.launch, "us-east-1b", BlockDeviceMappings=mapping)
        assert (no.code, no.status) == ("InsufficientInstanceCapacity", 500)
    assert account.all_instances() == []
    assert account.ec2.describe_volumes()["Volumes"] == []
    assert account.launch("us-east-1a")
    assert account.launch("us-east-1b")


def test_capacity_faults_end_when_cleared(account: Account, refused: Refuse) -> None:
    """A fault without a count hits every launch of its market until the faults are deleted."""
    account.admin("POST", "faults", kind="capacity", market="spot")
    spot: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}
    assert "no Spot capacity" in refused(account.launch, **spot).message
    assert account.launch()
    account.admin("DELETE", "faults")
    assert account.launch(**spot)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"InstanceType": "t3.colossal"}, "InvalidParameterValue"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "debian"}, "InvalidAMIID.Malformed"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"InstanceType": "t4g.medium"}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "us-east-1x"}}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "us-east-1e"}}, "Unsupported"),
        ({"MinCount": 2}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "sdf", "Ebs": {"VolumeSize": 1}}]}, "InvalidBlockDeviceMapping"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {}}]}, "MissingParameter"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}]},
            "InvalidSnapshot.NotFound",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}]},
            "InvalidParameterValue",
        ),
    ],
)
def test_wrong_launches_are_refused(account: Account, refused: Refuse, given: dict[str, Any], code: str) -> None:
    """Each wrong parameter has AWS's own code, and nothing is launched."""
    assert refused(account.launch, **given).code == code
    assert account.all_instances() == []


def test_dry_run_launches_nothing(account: Account, refused: Refuse) -> None:
    """DryRun answers DryRunOperation after the checks, and the check's error before it."""
    assert refused(account.launch, DryRun=True).code == "DryRunOperation"
    assert refused(account.launch, DryRun=True, KeyName="nobody").code == "InvalidKeyPair.NotFound"
    assert account.all_instances() == []


def test_tags_of_a_launch_reach_what_they_name(account: Account) -> None:
    """Instance, all volumes (the root too) and the spot request are tagged in the creating call."""
    kinds = ("instance", "volume", "spot-instances-request")
    specs = [{"ResourceType": kind, "Tags": [{"Key": "kind", "Value": kind}]} for kind in kinds]
    instance = account.launch_spot(TagSpecifications=specs)
    assert instance["Tags"] == specs[0]["Tags"]
    for mapping in instance["BlockDeviceMappings"]:
        assert account.volume(mapping["Ebs"]["VolumeId"])["Tags"] == specs[1]["Tags"]
    assert account.spot_request(instance)["Tags"] == specs[2]["Tags"]


def test_max_count_instances_are_launched(account: Account) -> None:
    """MaxCount, not MinCount, is how many come when there is room."""
    account.ec2.run_instances(ImageId=account.image_id, InstanceType="t3.medium", MinCount=1, MaxCount=3)
    assert len(account.all_instances()) == 3


def test_instances_take_the_image_s_imds_settings(account: Account) -> None:
    """These images require IMDSv2 tokens with two hops unless the launch says otherwise."""
    default = account.launch()["MetadataOptions"]
    assert (default["HttpTokens"], default["HttpPutResponseHopLimit"]) == ("required", 2)
    asked = account.launch(MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1})["MetadataOptions"]
    assert asked["HttpPutResponseHopLimit"] == 1


def test_without_a_zone_any_that_has_the_type_is_taken(account: Account) -> None:
    """A launch with neither subnet nor zone finds a zone by itself."""
    made = account.ec2.run_instances(ImageId=account.image_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1)
    assert made["Instances"][0]["Placement"]["AvailabilityZone"].startswith("us-east-1")


def test_a_gpu_type_boots_with_its_gpus(account: Account, hardware: FileHardware) -> None:
    """The hardware is told what the type has: processors, memory, GPUs."""
    image = account.client("ssm").get_parameter(Name=DEEP_LEARNING.format("x86_64"))["Parameter"]["Value"]
    instance = account.launch_running(InstanceType="g4dn.xlarge", ImageId=image)["InstanceId"]
    boot = hardware.machines[instance]
    assert (boot.vcpus, boot.memory_mib, boot.gpu_count) == (4, 16_384, 1)
    assert (boot.gpu_name, boot.gpu_memory_mib) == ("NVIDIA T4", 16_384)


def test_a_launch_in_a_network_without_public_addresses_has_none(account: Account) -> None:
    """AssociatePublicIpAddress=False gives a machine that has a private address alone."""
    interface = [{"DeviceIndex": 0, "AssociatePublicIpAddress": False}]
    instance = account.launch_running(NetworkInterfaces=interface)
    assert "PublicIpAddress" not in instance
    assert instance["PrivateIpAddress"]


def test_a_new_instance_profile_is_unknown_for_a_while(account: Account) -> None:
    """A launch with a profile made moments ago is refused: unknown first, then without its role; later it is had."""
    account.cloud.settings.profile_seconds = 1.0  # half of it without a role: even a busy computer looks meanwhile
    iam = account.client("iam")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="worker")
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
    profile: dict[str, Any] = {"IamInstanceProfile": {"Name": "worker"}}
    said: list[str] = []

    def is_known() -> bool:
        try:
            account.launch(**profile)
        except ClientError as error:
            said.append(error.response["Error"]["Message"])
            return False
        return True

    account.wait_until(is_known)
    assert "Invalid IAM Instance Profile name" in said[0]
    assert "has no associated IAM Roles" in said[-1]
    assert account.all_instances()[0]["IamInstanceProfile"]["Arn"].endswith("instance-profile/worker")


def test_an_instance_profile_without_a_role_is_refused(account: Account, refused: Refuse) -> None:
    """EC2 takes no profile that has no role, however old it is."""
    account.cloud.settings.profile_seconds = 0.0
    account.client("iam").create_instance_profile(InstanceProfileName="empty")
    no = refused(account.launch, IamInstanceProfile={"Name": "empty"})
    assert (no.code, "has no associated IAM Roles" in no.message) == ("InvalidParameterValue", True)


def test_failing_hardware_ends_the_launch_and_leaves_no_volume(account: Account, hardware: FileHardware) -> None:
    """When the machine cannot be made the instance is terminated with a reason, its new disks gone."""
    volume = account.make_volume()
    snapshot = account.make_snapshot(volume)
    hardware.snapshot_path(snapshot).unlink()
    ebs = {"SnapshotId": snapshot, "DeleteOnTermination": False}
    instance = account.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    ended = account.wait_instance(instance["InstanceId"], "terminated")
    reason = ended["StateReason"]
    assert reason["Code"] == "Server.InternalError"
    assert f"{snapshot} is gone" in reason["Message"] or snapshot in reason["Message"], reason
    account.wait_until(lambda: [v["VolumeId"] for v in account.ec2.describe_volumes()["Volumes"]] == [volume])


def test_a_young_machine_shows_its_disks_one_by_one(account: Account) -> None:
    """Its mapping is not whole when it begins to run; its volumes are attached all the same."""
    account.cloud.settings.mapping_seconds = 60
    instance = account.launch_with_drive()
    assert [m["DeviceName"] for m in instance["BlockDeviceMappings"]] == ["/dev/xvda"]
    attached: list[Any] = [{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    assert len(account.ec2.describe_volumes(Filters=attached)["Volumes"]) == 2
    account.cloud.settings.mapping_seconds = 0
    assert len(account.instance(instance["InstanceId"])["BlockDeviceMappings"]) == 2
