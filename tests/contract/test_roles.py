"""Rules of roles: what a machine may do with its credentials, and what becomes of others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from botocore.config import Config
from moto.core.utils import utcnow
from moto.sts.models import sts_backends

from tests.contract.conftest import Account, Refuse
from tests.user import make_client

ACCOUNT = "123456789012"
OURS = [{"Key": "xportal", "Value": "1"}]
SAVING: list[dict[str, Any]] = [
    {
        "Effect": "Allow",
        "Action": "ec2:CreateSnapshot",
        "Resource": f"arn:aws:ec2:us-east-1:{ACCOUNT}:volume/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/xportal": "1"}},
    },
    {
        "Effect": "Allow",
        "Action": "ec2:CreateSnapshot",
        "Resource": "arn:aws:ec2:us-east-1::snapshot/*",
        "Condition": {"StringEquals": {"aws:RequestTag/xportal": "1"}},
    },
    {
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": "arn:aws:ec2:us-east-1::snapshot/*",
        "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}},
    },
    {"Effect": "Allow", "Action": ["ec2:DescribeSnapshots", "ec2:DescribeVolumes"], "Resource": "*"},
]


@dataclass
class Machine:
    """An instance with a role, and a client with the role's credentials as IMDS tells them."""

    account: Account
    id: str
    volume: str

    def client(self, service: str = "ec2", **changes: str | None) -> Any:
        role = self.account.cloud.metadata(self.id).role
        assert role
        credentials = {
            "aws_access_key_id": role.access_key_id,
            "aws_secret_access_key": role.secret_access_key,
            "aws_session_token": role.token,
            **changes,
        }
        return make_client(
            service,
            endpoint_url=self.account.cloud.endpoint_url,
            region_name=self.account.region,
            config=Config(retries={"total_max_attempts": 1}),
            **credentials,
        )

    def put_policy(self, *statements: dict[str, Any]) -> None:
        """Let the role do this, and no more."""
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.account.client("iam").put_role_policy(RoleName="saver", PolicyName="saver", PolicyDocument=document)


@pytest.fixture
def machine(account: Account) -> Machine:
    """Its role may take snapshots of volumes that are tagged as xportal's."""
    account.cloud.settings.profile_seconds = 0.0
    iam = account.client("iam")
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="saver")
    iam.add_role_to_instance_profile(InstanceProfileName="saver", RoleName="saver")
    instance = account.launch_with_drive(
        IamInstanceProfile={"Name": "saver"}, TagSpecifications=[{"ResourceType": "volume", "Tags": OURS}]
    )
    machine = Machine(account, instance["InstanceId"], account.drive_of(instance))
    machine.put_policy(*SAVING)
    return machine


def tagged(**tags: str) -> dict[str, Any]:
    """TagSpecifications of a snapshot: xportal's, and these."""
    wanted = [*OURS, *({"Key": key, "Value": value} for key, value in tags.items())]
    return {"TagSpecifications": [{"ResourceType": "snapshot", "Tags": wanted}]}


def test_a_role_may_do_what_its_policy_allows(machine: Machine) -> None:
    """A snapshot of its own drive, tagged as asked; and looking for it."""
    ec2 = machine.client()
    made = ec2.create_snapshot(VolumeId=machine.volume, **tagged(kind="final"))
    [told] = ec2.describe_snapshots(SnapshotIds=[made["SnapshotId"]])["Snapshots"]
    assert {tag["Key"]: tag["Value"] for tag in told["Tags"]} == {"xportal": "1", "kind": "final"}


def test_a_role_may_do_nothing_else(machine: Machine, refused: Refuse) -> None:
    """UnauthorizedOperation, HTTP 403, for what no statement allows; the user's calls are allowed."""
    ec2 = machine.client()
    snapshot = machine.account.make_snapshot(machine.volume)
    for call, given in (
        (ec2.terminate_instances, {"InstanceIds": [machine.id]}),
        (ec2.delete_snapshot, {"SnapshotId": snapshot}),
        (ec2.delete_volume, {"VolumeId": machine.volume}),
        (ec2.create_tags, {"Resources": [machine.volume], "Tags": OURS}),
        (ec2.describe_instances, {}),
        (ec2.create_volume, {"AvailabilityZone": "us-east-1a", "Size": 1}),
    ):
        no = refused(call, **given)
        assert (no.code, no.status) == ("UnauthorizedOperation", 403), call
        assert f"assumed-role/saver/{machine.id}" in no.message
    assert machine.account.instance(machine.id)["State"]["Name"] == "running"
    assert len(machine.account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1


def test_create_snapshot_is_authorized_on_volume_and_snapshot(machine: Machine, refused: Refuse) -> None:
    """The volume's tags and the request's: without either it is refused, and the resource is named."""
    ec2 = machine.client()
    no = refused(ec2.create_snapshot, VolumeId=machine.account.make_volume(), **tagged())
    assert no.code == "UnauthorizedOperation"
    assert "ec2:CreateSnapshot on resource: arn:aws:ec2:us-east-1:123456789012:volume/vol-" in no.message
    no = refused(ec2.create_snapshot, VolumeId=machine.volume)
    assert "ec2:CreateSnapshot on resource: arn:aws:ec2:us-east-1::snapshot/*" in no.message


def test_tags_in_the_creating_call_need_create_tags(machine: Machine, refused: Refuse) -> None:
    """CreateTags is evaluated with ec2:CreateAction: allowed in CreateSnapshot is not allowed afterwards."""
    made = machine.client().create_snapshot(VolumeId=machine.volume, **tagged())
    no = refused(machine.client().create_tags, Resources=[made["SnapshotId"]], Tags=OURS)
    assert "ec2:CreateTags on resource: arn:aws:ec2:us-east-1::snapshot/snap-" in no.message
    machine.put_policy(*(s for s in SAVING if s["Action"] != "ec2:CreateTags"))
    no = refused(machine.client().create_snapshot, VolumeId=machine.volume, **tagged())
    assert "ec2:CreateTags on resource: arn:aws:ec2:us-east-1::snapshot/*" in no.message


def test_a_set_is_authorized_on_instance_volumes_and_snapshots(machine: Machine, refused: Refuse) -> None:
    """CreateSnapshots is an action of its own, evaluated on each of them and on CreateTags."""
    spec = {"InstanceSpecification": {"InstanceId": machine.id, "ExcludeBootVolume": True}}
    instance: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "ec2:CreateSnapshots",
        "Resource": "arn:aws:ec2:*:*:instance/*",
    }
    tags = {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*::snapshot/*",
            "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSnapshots"}}}  # fmt: skip
    sets = [{**s, "Action": "ec2:CreateSnapshots"} for s in SAVING[:2]]
    statements = [*sets, instance, tags]
    for missing in statements:
        machine.put_policy(*(s for s in statements if s is not missing))
        assert refused(machine.client().create_snapshots, **spec, **tagged()).code == "UnauthorizedOperation"
    machine.put_policy(*statements)
    assert len(machine.client().create_snapshots(**spec, **tagged())["Snapshots"]) == 1
    with_root = {"InstanceSpecification": {"InstanceId": machine.id}}
    machine.account.ec2.delete_tags(Resources=root_of(machine), Tags=OURS)
    assert refused(machine.client().create_snapshots, **with_root, **tagged()).code == "UnauthorizedOperation"


def test_a_policy_tells_machines_apart(machine: Machine, refused: Refuse) -> None:
    """A volume that has a machine's ARN in a tag is reached from that machine, and with its role alone."""
    own = {"StringEquals": {"aws:ResourceTag/of": "${ec2:SourceInstanceARN}"}}
    machine.put_policy({**SAVING[0], "Condition": own}, *SAVING[1:])
    assert refused(machine.client().create_snapshot, VolumeId=machine.volume, **tagged()).code
    for owner, works in (("i-00000000000000000", False), (machine.id, True)):
        of = {"Key": "of", "Value": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{owner}"}
        machine.account.ec2.create_tags(Resources=[machine.volume], Tags=[of])
        if works:
            assert machine.client().create_snapshot(VolumeId=machine.volume, **tagged())["SnapshotId"]
        else:
            no = refused(machine.client().create_snapshot, VolumeId=machine.volume, **tagged())
            assert no.code == "UnauthorizedOperation"
    role = machine.account.client("iam").get_role(RoleName="saver")["Role"]["Arn"]
    got = machine.account.client("sts").assume_role(RoleArn=role, RoleSessionName=machine.id)["Credentials"]
    elsewhere = machine.client(
        aws_access_key_id=got["AccessKeyId"],
        aws_secret_access_key=got["SecretAccessKey"],
        aws_session_token=got["SessionToken"],
    )
    assert refused(elsewhere.create_snapshot, VolumeId=machine.volume, **tagged()).code == "UnauthorizedOperation"


def test_a_policy_names_the_tags_that_may_be_written(machine: Machine, refused: Refuse) -> None:
    """All of the request's tags, with wildcards; one more is refused."""
    allowed = {"ForAllValues:StringLike": {"aws:TagKeys": ["xportal", "kind*"]}}
    machine.put_policy(SAVING[0], {**SAVING[1], "Condition": allowed}, *SAVING[2:])
    assert machine.client().create_snapshot(VolumeId=machine.volume, **tagged(kind="x", kind2="y"))["SnapshotId"]
    no = refused(machine.client().create_snapshot, VolumeId=machine.volume, **tagged(kind="x", ended="now"))
    assert no.code == "UnauthorizedOperation"


def root_of(machine: Machine) -> list[str]:
    mapping = machine.account.instance(machine.id)["BlockDeviceMappings"]
    return [m["Ebs"]["VolumeId"] for m in mapping if m["DeviceName"] == "/dev/xvda"]


def test_a_dry_run_tells_what_is_allowed(machine: Machine, refused: Refuse) -> None:
    """DryRunOperation for what would be done, UnauthorizedOperation for what would not."""
    ec2 = machine.client()
    assert refused(ec2.create_snapshot, VolumeId=machine.volume, DryRun=True, **tagged()).code == "DryRunOperation"
    assert refused(ec2.create_snapshot, VolumeId=machine.volume, DryRun=True).code == "UnauthorizedOperation"


def test_attached_policies_count_and_denials_win(machine: Machine, refused: Refuse) -> None:
    """A managed policy allows beside the inline one; its denial overrides the inline one's permission."""
    iam = machine.account.client("iam")
    statements = [
        {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"},
        {"Effect": "Deny", "Action": "ec2:DescribeVolumes", "Resource": "*"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn = iam.create_policy(PolicyName="more", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="saver", PolicyArn=arn)
    assert machine.client().describe_instances()["Reservations"]
    assert refused(machine.client().describe_volumes).code == "UnauthorizedOperation"
    iam.detach_role_policy(RoleName="saver", PolicyArn=arn)
    assert machine.client().describe_volumes()["Volumes"]


def test_other_services_have_their_own_words(machine: Machine, refused: Refuse) -> None:
    """AccessDenied of IAM, AccessDeniedException of SSM; who one is may always be asked."""
    assert refused(machine.client("iam").list_roles).code == "AccessDenied"
    assert refused(machine.client("ssm").get_parameter, Name="/x").code == "AccessDeniedException"
    assert machine.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_credentials_must_be_known_and_whole(machine: Machine, refused: Refuse) -> None:
    """An unknown key, a wrong or missing token: AuthFailure. A wrong secret: SignatureDoesNotMatch."""
    for changes in ({"aws_access_key_id": "ASIAUNKNOWN"}, {"aws_session_token": "x"}, {"aws_session_token": None}):
        no = refused(machine.client(**changes).describe_volumes)
        assert (no.code, no.status) == ("AuthFailure", 401)
    no = refused(machine.client(aws_secret_access_key="x").describe_volumes)
    assert (no.code, no.status) == ("SignatureDoesNotMatch", 403)


def test_credentials_expire(machine: Machine, refused: Refuse) -> None:
    """RequestExpired of EC2, ExpiredToken of the others."""
    old = machine.client(), machine.client("sts")
    for role in sts_backends[ACCOUNT]["aws"].assumed_roles:
        role.expiration = utcnow() - timedelta(seconds=1)
    assert refused(old[0].describe_volumes).code == "RequestExpired"
    assert refused(old[1].get_caller_identity).code == "ExpiredToken"


def test_a_deleted_role_s_credentials_are_worth_nothing(machine: Machine, refused: Refuse) -> None:
    """AuthFailure."""
    client, iam = machine.client(), machine.account.client("iam")
    iam.remove_role_from_instance_profile(InstanceProfileName="saver", RoleName="saver")
    iam.delete_role_policy(RoleName="saver", PolicyName="saver")
    iam.delete_role(RoleName="saver")
    assert refused(client.describe_volumes).code == "AuthFailure"
    assert machine.account.cloud.metadata(machine.id).role is None


def test_iam_does_not_know_at_once_what_it_has_made(account: Account, refused: Refuse) -> None:
    """For who reads, changes or joins it; who makes it again is told that it is there."""
    account.cloud.settings.iam_seconds = 60
    iam = account.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="young", AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName="young")
    for call, given in (
        (iam.get_role, {"RoleName": "young"}),
        (iam.put_role_policy, {"RoleName": "young", "PolicyName": "p", "PolicyDocument": trust}),
        (iam.get_instance_profile, {"InstanceProfileName": "young"}),
        (iam.add_role_to_instance_profile, {"InstanceProfileName": "young", "RoleName": "young"}),
    ):
        assert (refused(call, **given).code, refused(call, **given).status) == ("NoSuchEntity", 404)
    again = refused(iam.create_role, RoleName="young", AssumeRolePolicyDocument=trust)
    assert again.code == "EntityAlreadyExists"
    account.cloud.settings.iam_seconds = 0
    iam.add_role_to_instance_profile(InstanceProfileName="young", RoleName="young")
