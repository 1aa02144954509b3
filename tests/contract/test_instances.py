"""Rules of instances once they run."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.conftest import Account, Refuse, make_public_key
from tests.user import SECRET
from xportal.errors import HardwareFailure
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware


def test_terminate_goes_over_shutting_down(account: Account, hardware: FileHardware) -> None:
    """The reply is shutting-down from running; then it is terminated, without addresses or disks."""
    instance = account.launch_running()
    reply = account.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])["TerminatingInstances"][0]
    assert (reply["PreviousState"]["Name"], reply["CurrentState"]["Name"]) == ("running", "shutting-down")
    ended = account.wait_instance(instance["InstanceId"], "terminated")
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert (ended["BlockDeviceMappings"], ended["SecurityGroups"]) == ([], [])
    assert "PublicIpAddress" not in ended
    assert hardware.running() == frozenset()


def test_terminate_can_be_repeated(account: Account) -> None:
    """Terminating a terminated instance is no error and says so."""
    instance = account.launch_running()
    account.terminate(instance)
    reply = account.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])["TerminatingInstances"][0]
    assert reply["CurrentState"]["Name"] == "terminated"


def test_terminate_of_an_unknown_id_ends_none(account: Account, refused: Refuse) -> None:
    """One unknown id among them and nothing is terminated."""
    instance = account.launch_running()["InstanceId"]
    terminate = account.ec2.terminate_instances
    assert refused(terminate, InstanceIds=[instance, "i-0123456789abcdef0"]).code == "InvalidInstanceID.NotFound"
    assert refused(terminate, InstanceIds=["nobody"]).code == "InvalidInstanceID.Malformed"
    assert refused(terminate, InstanceIds=[instance], DryRun=True).code == "DryRunOperation"
    assert account.instance(instance)["State"]["Name"] == "running"


def test_terminate_while_pending_ends_it(account: Account) -> None:
    """A launch that is terminated at once still ends, its drive available."""
    instance = account.launch(BlockDeviceMappings=[account.drive()])
    account.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    account.wait_instance(instance["InstanceId"], "terminated")
    drive = account.ec2.describe_volumes(Filters=[{"Name": "size", "Values": ["10"]}])["Volumes"][0]
    assert account.wait_volume(drive["VolumeId"])["Attachments"] == []


def test_an_instance_that_shuts_itself_down_is_terminated(account: Account, hardware: FileHardware) -> None:
    """With InstanceInitiatedShutdownBehavior=terminate the end of the OS is the end of the instance."""
    instance = account.launch_with_drive(InstanceInitiatedShutdownBehavior="terminate")
    hardware.power_off(instance["InstanceId"])
    ended = account.wait_instance(instance["InstanceId"], "terminated")
    assert ended["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert account.volume(account.drive_of(instance))["State"] == "available"


def test_by_default_an_instance_that_shuts_itself_down_is_stopped(account: Account, hardware: FileHardware) -> None:
    """The default behaviour is stop: the instance stays, its disks attached."""
    instance = account.launch_with_drive()
    hardware.power_off(instance["InstanceId"])
    account.wait_instance(instance["InstanceId"], "stopped")
    assert account.volume(account.drive_of(instance))["State"] == "in-use"


def test_an_on_demand_instance_can_be_stopped(account: Account) -> None:
    """StopInstances goes over stopping to stopped; terminate ends it from there."""
    instance = account.launch_running()
    reply = account.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])["StoppingInstances"][0]
    assert reply["CurrentState"]["Name"] == "stopping"
    account.wait_instance(instance["InstanceId"], "stopped")
    account.terminate(instance)


def test_terminated_instances_are_forgotten_after_a_while(account: Account) -> None:
    """They stay visible for some time, then they and their spot requests are gone."""
    instance = account.launch_spot()
    account.terminate(instance)
    assert account.all_instances()
    account.cloud.settings.terminated_seconds = 0
    assert account.all_instances() == []
    assert account.ec2.describe_spot_instance_requests()["SpotInstanceRequests"] == []


def test_a_machine_that_does_not_shut_down_loses_its_power(tmp_path: Path) -> None:
    """When the OS shutdown fails the power is cut before the drive is anybody else's."""

    class Stubborn(FileHardware):
        def shut_down(self, instance_id: str, deadline_s: float) -> None:
            raise HardwareFailure("it does not listen")

    hardware = Stubborn(tmp_path)
    with Cloud(hardware, settings=Settings(mapping_seconds=0), secret=SECRET) as cloud:
        account = Account(cloud, hardware)
        instance = account.launch_with_drive()
        account.terminate(instance)
        assert hardware.cuts == [instance["InstanceId"]]
        assert account.volume(account.drive_of(instance))["State"] == "available"


def test_the_sdk_s_waiters_end(account: Account) -> None:
    """boto3's own waiters for instances, volumes and snapshots see the states they wait for."""
    fast = {"Delay": 1, "MaxAttempts": 10}
    instance = account.launch(BlockDeviceMappings=[account.drive()])["InstanceId"]
    for waiter in ("instance_running", "instance_status_ok"):
        account.ec2.get_waiter(waiter).wait(InstanceIds=[instance], WaiterConfig=fast)
    drive = account.drive_of(account.instance(instance))
    snapshot = account.ec2.create_snapshot(VolumeId=drive)["SnapshotId"]
    account.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=fast)
    account.ec2.terminate_instances(InstanceIds=[instance])
    account.ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig=fast)
    account.ec2.get_waiter("volume_available").wait(VolumeIds=[drive], WaiterConfig=fast)


def test_instances_come_in_pages(account: Account) -> None:
    """Every instance is told once over the pages, under its reservation."""
    account.ec2.run_instances(ImageId=account.image_id, InstanceType="t3.medium", MinCount=1, MaxCount=7)
    pages = list(account.ec2.get_paginator("describe_instances").paginate(MaxResults=5))
    told = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
    assert (len(pages), len(told), len(set(told))) == (2, 7, 7)


@pytest.mark.parametrize(
    ("name", "value", "hits"),
    [
        ("instance-lifecycle", "spot", True),
        ("instance-lifecycle", "scheduled", False),
        ("instance-state-name", "running", True),
        ("instance-type", "t3.*", True),
        ("availability-zone", "us-east-1a", True),
        ("tag:Name", "one", True),
        ("tag:Name", "o[n]e", False),
        ("tag-key", "Name", True),
        ("tag-key", "name", False),
        ("block-device-mapping.device-name", "/dev/sdf", True),
        ("block-device-mapping.delete-on-termination", "false", True),
    ],
)
def test_instances_are_filtered(account: Account, name: str, value: str, hits: bool) -> None:
    """Filters match exactly, in their case, with * and ? as the only wildcards."""
    spec = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]}]
    account.launch_spot(BlockDeviceMappings=[account.drive()], TagSpecifications=spec)
    found = account.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])["Reservations"]
    assert bool(found) is hits


def test_an_instance_is_found_by_its_volume(account: Account) -> None:
    """The filter block-device-mapping.volume-id leads from a drive to its machine."""
    account.launch_running()
    instance = account.launch_with_drive()
    found = account.ec2.describe_instances(
        Filters=[{"Name": "block-device-mapping.volume-id", "Values": [account.drive_of(instance)]}]
    )["Reservations"]
    assert [i["InstanceId"] for r in found for i in r["Instances"]] == [instance["InstanceId"]]


@pytest.mark.aws
@pytest.mark.parametrize(
    "call",
    ["instances", "volumes", "snapshots", "key_pairs", "spot_instance_requests", "subnets", "security_groups", "vpcs"],
)
def test_an_unknown_filter_is_refused(account: Account, refused: Refuse, call: str) -> None:
    """A filter that EC2 does not have is InvalidParameterValue, everywhere."""
    describe = getattr(account.ec2, f"describe_{call}")
    assert refused(describe, Filters=[{"Name": "colour", "Values": ["blue"]}]).code == "InvalidParameterValue"


def test_delete_on_termination_can_be_changed_later(account: Account) -> None:
    """ModifyInstanceAttribute changes it, DescribeInstances and the attachment tell it, the end obeys it."""
    instance = account.launch_with_drive()
    change = [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}]
    account.ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], BlockDeviceMappings=change)
    told = account.instance(instance["InstanceId"])["BlockDeviceMappings"]
    assert told[1]["Ebs"]["DeleteOnTermination"] is True
    assert account.volume(account.drive_of(instance))["Attachments"][0]["DeleteOnTermination"] is True
    account.terminate(instance)
    account.wait_until(lambda: not account.ec2.describe_volumes()["Volumes"])


def test_the_console_is_the_machine_s(account: Account) -> None:
    """GetConsoleOutput tells what the hardware says the machine printed."""
    instance = account.launch_running()["InstanceId"]
    assert instance in account.ec2.get_console_output(InstanceId=instance)["Output"]


def test_instance_connect_puts_a_key_on_the_machine(account: Account, hardware: FileHardware, refused: Refuse) -> None:
    """SendSSHPublicKey reaches the hardware for a running machine and is refused for others."""
    send = account.client("ec2-instance-connect").send_ssh_public_key
    instance, key = account.launch_running(), make_public_key().decode()
    given = {"InstanceId": instance["InstanceId"], "InstanceOSUser": "ec2-user", "SSHPublicKey": key}
    assert send(**given)["Success"] is True
    assert hardware.logins == [(instance["InstanceId"], "ec2-user", key)]
    account.terminate(instance)
    assert refused(send, **given).code == "EC2InstanceStateInvalidException"
    assert refused(send, **{**given, "InstanceId": "i-0123456789abcdef0"}).code == "EC2InstanceNotFoundException"


def test_a_security_group_in_use_cannot_be_deleted(account: Account, refused: Refuse) -> None:
    """DeleteSecurityGroup is DependencyViolation until its instances are terminated."""
    made = account.ec2.create_security_group(GroupName="xportal", Description="d")
    instance = account.launch_running(SecurityGroupIds=[made["GroupId"]])
    assert refused(account.ec2.delete_security_group, GroupId=made["GroupId"]).code == "DependencyViolation"
    account.terminate(instance)
    account.ec2.delete_security_group(GroupId=made["GroupId"])
    assert refused(account.ec2.delete_security_group, GroupId=made["GroupId"]).code == "InvalidGroup.NotFound"


def test_a_rule_twice_is_a_duplicate(account: Account, refused: Refuse) -> None:
    """The same ingress rule again is InvalidPermission.Duplicate, the same group name InvalidGroup.Duplicate."""
    group = {"GroupName": "xportal", "Description": "d"}
    made = account.ec2.create_security_group(**group)
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}
    account.ec2.authorize_security_group_ingress(GroupId=made["GroupId"], IpPermissions=[rule])
    again = {"GroupId": made["GroupId"], "IpPermissions": [rule]}
    assert refused(account.ec2.authorize_security_group_ingress, **again).code == "InvalidPermission.Duplicate"
    assert refused(account.ec2.create_security_group, **group).code == "InvalidGroup.Duplicate"


def test_tags_are_changed_on_what_exists(account: Account, refused: Refuse) -> None:
    """CreateTags and DeleteTags change a record; unknown ids are refused, also of instances."""
    volume = account.make_volume()
    account.ec2.create_tags(Resources=[volume], Tags=[{"Key": "Name", "Value": "d"}, {"Key": "n", "Value": "1"}])
    account.ec2.delete_tags(Resources=[volume], Tags=[{"Key": "n"}])
    assert account.volume(volume)["Tags"] == [{"Key": "Name", "Value": "d"}]
    tag = [{"Key": "a", "Value": "b"}]
    for unknown, code in {
        "i-0123456789abcdef0": "InvalidInstanceID.NotFound",
        "vol-0123456789abcdef0": "InvalidVolume.NotFound",
        "snap-0123456789abcdef0": "InvalidSnapshot.NotFound",
        "key-0123456789abcdef0": "InvalidKeyPair.NotFound",
    }.items():
        assert refused(account.ec2.create_tags, Resources=[unknown], Tags=tag).code == code


def test_imds_is_told_what_the_api_knows(account: Account) -> None:
    """Metadata has identity, key, mapping and, when enabled, tags; no role without a profile."""
    key = account.import_key("login")
    spec = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]}]
    instance = account.launch_spot(
        KeyName="login",
        TagSpecifications=spec,
        BlockDeviceMappings=[account.drive()],
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
    )
    account.ec2.delete_key_pair(KeyName="login")
    told = account.cloud.metadata(instance["InstanceId"])
    assert (told.market, told.hop_limit, told.http_tokens) == ("spot", 1, "required")
    assert told.public_key == key.decode()
    assert told.mapping == {"ami": "/dev/xvda", "root": "/dev/xvda", "ebs1": "/dev/sdf"}
    assert told.tags == {"Name": "one"}
    assert (told.public_ip, told.role) == (instance["PublicIpAddress"], None)
    assert told.launch_time.utcoffset() == timedelta(0)
    with pytest.raises(KeyError):
        account.cloud.metadata("i-0123456789abcdef0")


def test_a_role_s_credentials_work_at_the_api(account: Account) -> None:
    """The role's credentials in IMDS are STS's own: the API knows them as the assumed role."""
    iam = account.client("iam")
    account.cloud.settings.profile_seconds = 0
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="worker")
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
    instance = account.launch(IamInstanceProfile={"Name": "worker"})["InstanceId"]
    role = account.cloud.metadata(instance).role
    assert role is not None
    assert role == account.cloud.metadata(instance).role
    sts = account.client_with("sts", role.access_key_id, role.secret_access_key, role.token)
    assert sts.get_caller_identity()["Arn"].endswith(f"assumed-role/worker/{instance}")


def test_user_data_is_base64_in_the_attribute(account: Account) -> None:
    """An instance without user data has an empty attribute."""
    with_data = account.launch(UserData="hello")["InstanceId"]
    told = account.ec2.describe_instance_attribute(InstanceId=with_data, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told) == b"hello"


def test_a_terminated_instance_loses_its_fields_then_its_tags(account: Account) -> None:
    """VPC, groups, profile and mapping at once, tags later; it is still listed."""
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": "xportal", "Value": "1"}]}]
    instance = account.launch_with_drive(TagSpecifications=tagged)
    account.terminate(instance)
    ended = account.instance(instance["InstanceId"])
    kept = {"VpcId", "SubnetId", "SecurityGroups", "BlockDeviceMappings", "IamInstanceProfile", "PublicIpAddress"}
    assert {name for name in kept if ended.get(name)} == set()
    assert ended["Tags"]
    account.cloud.settings.tags_seconds = 0
    assert not account.instance(instance["InstanceId"]).get("Tags")
