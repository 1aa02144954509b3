"""The machines' role: made whole whatever was cut off before, waited for, and done without where it cannot be had."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from tests.crash.conftest import Lab, open_cloud
from tests.crash.test_attach import interrupt
from tests.user import make_session
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.full.proofs import HOST_KEY
from xportal.agent.full.remember import remember
from xportal.agent.full.snapshots import ROLLING, plan_tags
from xportal.aws import network, tags
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.roles import EC2_SERVICE, POLICY, ROLE, WRITTEN, ensure_instance_profile, policy, trust
from xportal.aws.session import Aws
from xportal.errors import NotOurs
from xportal.machine.access import Claim, new_claim
from xportal.machine.images import get_machine_image
from xportal.machine.launch import _run_with_role
from xportal.portal.up.launch import _find_profile
from xportal.sandbox.api.server import Cloud
from xportal.spec import MachineSpec

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

OURS: list[Any] = tags.to_aws({tags.OURS: "1"})


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that takes a second to know a new instance profile: a busy computer, too, looks meanwhile."""
    with open_cloud(tmp_path_factory.mktemp("disks"), profile_seconds=1.0) as started:
        yield started


class Forbidding(Aws):
    """An account whose user may neither use IAM nor pass a role on; all else is real."""

    def call(self, operation: Any, *args: Any, **params: Any) -> Any:
        """Refuse as AWS does."""
        if "InstanceProfileName" in params or "IamInstanceProfile" in params:
            raise AwsError("not authorized", code="UnauthorizedOperation", operation=operation.__name__)
        return super().call(operation, *args, **params)


def request(aws: Aws) -> dict[str, Any]:
    """The least that RunInstances takes, and the profile."""
    image = get_machine_image(aws, MachineSpec(architecture="x86_64"), gpu=False)
    machine = {"ImageId": image.id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1}
    return {**machine, "IamInstanceProfile": {"Name": ROLE}}


def profile_of(aws: Aws, machine: Instance) -> str | None:
    """The profile that a machine was launched with."""
    by_id = [{"Name": "instance-id", "Values": [machine.id]}]  # by a filter: the id alone is unknown at first
    while not (found := aws.ec2.describe_instances(Filters=by_id)["Reservations"]):  # type: ignore[arg-type]
        sleep(0.1)
    return found[0]["Instances"][0].get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2] or None


@contextmanager
def closing_claim() -> Iterator[Claim]:
    """A claim for one launch."""
    claim = new_claim()
    try:
        yield claim
    finally:
        claim.release()


@pytest.fixture(autouse=True)
def no_role(lab: Lab) -> None:
    """An account as it is before the first `up`."""
    iam_backends[DEFAULT_ACCOUNT_ID].reset()


def attached(lab: Lab) -> list[str]:
    """The roles in the profile."""
    found = lab.aws.iam().get_instance_profile(InstanceProfileName=ROLE)
    return [role["RoleName"] for role in found["InstanceProfile"]["Roles"]]


def stored_policy(lab: Lab) -> Any:
    """What the role may do."""
    document = lab.aws.iam().get_role_policy(RoleName=ROLE, PolicyName=ROLE)["PolicyDocument"]
    return json.loads(document) if isinstance(document, str) else document


def test_it_may_take_tagged_snapshots_of_its_own_volumes_and_nothing_else() -> None:
    """CreateSnapshot on volume and snapshot, each by its tags; tags only with it; the snapshot's ARN has no account."""
    told = policy("arn:aws-cn:iam::123456789012:role/xportal")["Statement"]
    own, nobodys, snapshot, tag, look = told
    assert own["Resource"] == nobodys["Resource"] == "arn:aws-cn:ec2:*:123456789012:volume/*"
    whose = {"aws:ResourceTag/xportal": "1", "aws:ResourceTag/xportal:machine": "${ec2:SourceInstanceARN}"}
    assert own["Condition"] == {"StringEquals": whose}
    assert nobodys["Condition"]["Null"] == {"aws:ResourceTag/xportal:machine": "true"}
    assert snapshot["Resource"] == tag["Resource"] == "arn:aws-cn:ec2:*::snapshot/*"
    assert snapshot["Condition"]["StringEquals"] == {"aws:RequestTag/xportal": "1"}
    assert tag["Condition"]["StringEquals"]["ec2:CreateAction"] == "CreateSnapshot"
    keys = [s["Condition"]["ForAllValues:StringLike"]["aws:TagKeys"] for s in (snapshot, tag)]
    assert keys == [list(WRITTEN)] * 2
    assert not {tags.ENDED, tags.MARKED, tags.RESTORED, tags.STRAY, tags.BLANK} & set(WRITTEN)
    assert [one["Action"] for one in told] == [*["ec2:CreateSnapshot"] * 3, "ec2:CreateTags", "ec2:DescribeSnapshots"]
    assert look["Resource"] == "*"


@pytest.mark.parametrize("kind", ["final", ROLLING])
def test_every_tag_that_a_machine_writes_is_allowed(kind: str, tmp_path: Path) -> None:
    """Those of its final save and of its checkpoints, with what the portal remembers."""
    paths = Paths(tmp_path)
    key = tmp_path / HOST_KEY
    key.parent.mkdir(parents=True)
    key.write_text("the host key")
    remember(paths, {tags.REMEMBERED: "x", f"{tags.REMEMBERED}.2": "y"})
    config = AgentConfig("demo", "l-1", "us-east-1", "", [DriveConfig("demo", 1), DriveConfig("data", 1)])
    written = plan_tags(config, {"name": "demo", "generation": 1}, "save", kind, paths)
    assert (tags.PROOF in written) == (kind == "final")
    assert [key for key in written if not any(fnmatchcase(key, pattern) for pattern in WRITTEN)] == []


def misspelt(shape: Any, value: Any) -> Iterator[str]:
    """The texts in a call's parameters that are longer, or of other characters, than IAM's own model says."""
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from misspelt(shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            yield from misspelt(shape.member, item)
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern", ".*").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
        if not re.fullmatch(pattern, value, re.DOTALL) or len(value) > shape.metadata.get("max", 1 << 20):
            yield value


class Watched(Aws):
    """An account whose calls to IAM `look` sees."""

    def __init__(self, region: str, look: Callable[..., None]) -> None:
        super().__init__(make_session(region), region)
        self._look = look

    def iam(self) -> IAMClient:
        """A client that is watched."""
        client = super().iam()
        client.meta.events.register("provide-client-params.iam", self._look)
        return client


def test_its_texts_are_of_the_patterns_that_iam_documents(lab: Lab) -> None:
    """Names, descriptions, policies and tags: moto takes any, IAM does not."""
    wrong: list[str] = []
    seen: list[str] = []

    def look(params: Any, model: Any, **_: Any) -> None:
        seen.append(model.name)
        wrong.extend(misspelt(model.input_shape, params))

    iam = lab.aws.iam()
    ensure_instance_profile(Watched(lab.aws.region, look), lab.story.say)
    assert {"CreateRole", "PutRolePolicy", "CreateInstanceProfile"} <= set(seen)
    assert wrong == []
    assert list(misspelt(iam.meta.service_model.operation_model("CreateRole").input_shape, {"RoleName": "x'y"}))


@pytest.mark.parametrize("before", ["nothing", "role", "profile", "everything"])
def test_it_is_made_whole_whatever_is_there(lab: Lab, before: str) -> None:
    """An `up` that was cut off between two calls leaves no role without its policy."""
    iam = lab.aws.iam()
    if before in ("role", "profile"):
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust(EC2_SERVICE)), Tags=OURS)
    if before == "profile":
        iam.create_instance_profile(InstanceProfileName=ROLE, Tags=OURS)
    if before == "everything":
        ensure_instance_profile(lab.aws, lab.story.say)
    assert ensure_instance_profile(lab.aws, lab.story.say) == ROLE
    assert attached(lab) == [ROLE]
    arn = iam.get_role(RoleName=ROLE)["Role"]["Arn"]
    assert stored_policy(lab) == policy(arn)


def test_a_user_who_may_not_gets_a_machine_all_the_same(lab: Lab) -> None:
    """No permission in IAM, or none to pass the role on: no role, and the user is told what that means."""
    forbidding = Forbidding(make_session(lab.aws.region), lab.aws.region)
    assert _find_profile(forbidding, lab.story) is None
    assert "takes the snapshot" in lab.story.lines[-1]

    ensure_instance_profile(lab.aws, lab.story.say)
    with closing_claim() as claim:
        machine = _run_with_role(forbidding, request(lab.aws), claim, lab.story.say, lambda: None)
    assert "takes the snapshot" in lab.story.lines[-1]
    assert profile_of(lab.aws, machine) is None


def test_a_new_profile_is_waited_for(lab: Lab) -> None:
    """EC2 does not know it at first, then not its role, and says so each time; the launch comes through, with both."""
    ensure_instance_profile(lab.aws, lab.story.say)
    with closing_claim() as claim:
        machine = _run_with_role(lab.aws, request(lab.aws), claim, lab.story.say, lambda: None)
    assert profile_of(lab.aws, machine) == ROLE
    assert lab.story.lines == []


def test_a_profile_that_ec2_never_knows(lab: Lab) -> None:
    """The machine comes up without the role in the end, and that is said."""
    ensure_instance_profile(lab.aws, lab.story.say)
    lab.cloud.settings.profile_seconds = 600.0
    try:
        with closing_claim() as claim:
            machine = _run_with_role(lab.aws, request(lab.aws), claim, lab.story.say, lambda: None)
    finally:
        lab.cloud.settings.profile_seconds = 0.5
    assert "takes the snapshot" in lab.story.lines[-1]
    assert profile_of(lab.aws, machine) is None


@pytest.mark.parametrize("region", ["ap-south-1", "cn-north-1"])
def test_iam_does_not_know_at_once_what_it_has_made(lab: Lab, region: str) -> None:
    """The role is whole in the end; in China its service has another name."""
    aws = Aws(make_session(region), region, clock=lab.aws.clock)
    lab.cloud.settings.iam_seconds = 0.4
    try:
        ensure_instance_profile(aws, lab.story.say)
    finally:
        lab.cloud.settings.iam_seconds = 0.0
    [role] = aws.iam().get_instance_profile(InstanceProfileName=ROLE)["InstanceProfile"]["Roles"]
    service = "ec2.amazonaws.com.cn" if region == "cn-north-1" else "ec2.amazonaws.com"
    assert role["AssumeRolePolicyDocument"] == trust(service)
    stored = aws.iam().get_role_policy(RoleName=ROLE, PolicyName=ROLE)["PolicyDocument"]
    assert stored == policy(role["Arn"])


class Counting(Aws):
    """An account that counts the calls to IAM; `refused` names one that this user may not make."""

    def __init__(self, region: str, refused: str = "") -> None:
        super().__init__(make_session(region), region)
        self.made: list[str] = []
        self.refused = refused

    def call(self, operation: Any, *args: Any, **params: Any) -> Any:
        """Count it, or refuse as IAM does."""
        self.made.append(operation.__name__)
        if operation.__name__ == self.refused:
            raise AwsError("not authorized", code="AccessDenied", operation=operation.__name__)
        return super().call(operation, *args, **params)


def old_account(lab: Lab) -> None:
    """A role and a profile as an older xportal made them."""
    ensure_instance_profile(lab.aws, lab.story.say)
    iam = lab.aws.iam()
    iam.untag_instance_profile(InstanceProfileName=ROLE, TagKeys=[POLICY])
    look = {"Effect": "Allow", "Action": "ec2:DescribeSnapshots", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [look]})
    iam.put_role_policy(RoleName=ROLE, PolicyName=ROLE, PolicyDocument=text)


def test_a_policy_of_an_older_xportal_is_replaced_once(lab: Lab) -> None:
    """By the next `up`; after that one call tells that all is well."""
    old_account(lab)
    counting = Counting(lab.aws.region)
    assert ensure_instance_profile(counting, lab.story.say) == ROLE
    assert stored_policy(lab) == policy(lab.aws.iam().get_role(RoleName=ROLE)["Role"]["Arn"])
    assert "put_role_policy" in counting.made
    counting.made.clear()
    assert ensure_instance_profile(counting, lab.story.say) == ROLE
    assert counting.made == ["get_instance_profile"]
    assert lab.story.lines == []


@pytest.mark.parametrize("refused", ["get_role", "put_role_policy", "tag_instance_profile"])
def test_who_may_not_replace_a_policy_goes_on_with_it(lab: Lab, refused: str) -> None:
    """It is said what to allow, and the machines keep their role."""
    old_account(lab)
    assert _find_profile(Counting(lab.aws.region, refused), lab.story) == ROLE
    assert [("older xportal" in line, "iam:PutRolePolicy" in line) for line in lab.story.lines] == [(True, True)]


@pytest.mark.parametrize("kind", ["role", "instance profile", "instance profile with a role", "another role"])
def test_what_only_has_our_name_is_neither_used_nor_changed(lab: Lab, kind: str) -> None:
    """Somebody's own: it is named, with what to do, and the machine goes without a role."""
    iam = lab.aws.iam()
    role = "admin" if kind == "another role" else ROLE
    iam.create_role(
        RoleName=role, AssumeRolePolicyDocument=json.dumps(trust(EC2_SERVICE)), Tags=OURS if role != ROLE else []
    )
    if kind != "role":
        iam.create_instance_profile(InstanceProfileName=ROLE, Tags=OURS if kind == "another role" else [])
    if kind.endswith("role") and kind != "role":
        iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=role)
    assert _find_profile(lab.aws, lab.story) is None
    [line] = lab.story.lines
    assert f'the {"role" if kind == "role" else "instance profile"} "xportal" of this account' in line
    assert "it is not xportal's" in line
    assert "takes the snapshot" in line
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == []


def test_a_security_group_of_our_name_is_neither_used_nor_deleted(lab: Lab) -> None:
    """An `up` names it and says what to do; nothing is launched into it, and `down` leaves it where it is."""
    ec2 = lab.aws.ec2
    [vpc] = {subnet.vpc_id for subnet in network.list_default_subnets(lab.aws)}
    group = network.find_security_group(lab.aws, vpc)
    if group:
        network.delete_security_group(lab.aws, group.id)
    own = ec2.create_security_group(GroupName="xportal", Description="my own", VpcId=vpc)["GroupId"]
    with pytest.raises(NotOurs, match=own) as refused:
        lab.up("grouped")
    assert f"--group-id {own}" in refused.value.hint
    lab.down("grouped")
    [left] = ec2.describe_security_groups(GroupIds=[own])["SecurityGroups"]
    assert left["IpPermissions"] == []
    ec2.create_tags(Resources=[own], Tags=OURS)
    lab.up("grouped")
    lab.down("grouped")


def as_machine(lab: Lab, machine: Instance) -> Any:
    """EC2 with the credentials that a machine gets from IMDS."""
    role = lab.cloud.metadata(machine.id).role
    assert role
    return boto3.client(
        "ec2",
        endpoint_url=lab.cloud.endpoint_url,
        region_name=lab.aws.region,
        aws_access_key_id=role.access_key_id,
        aws_secret_access_key=role.secret_access_key,
        aws_session_token=role.token,
    )


def test_a_machine_reaches_its_own_drives_alone(lab: Lab) -> None:
    """Also a volume that was attached to it later. Nor does it write a tag that ends, marks or chooses anything."""

    def may(machine: Instance, volume: str, **more: str) -> bool:
        told = [{"ResourceType": "snapshot", "Tags": tags.to_aws({tags.OURS: "1", **more})}]
        try:
            as_machine(lab, machine).create_snapshot(VolumeId=volume, TagSpecifications=told)
        except ClientError as error:
            return error.response["Error"]["Code"] != "UnauthorizedOperation"
        return True

    first, second = lab.up("first", size_gib=1), lab.up("second", size_gib=1)
    assert may(first, first.disks[DEVICE])
    assert not may(second, first.disks[DEVICE])
    assert not may(first, first.disks[DEVICE], **{tags.ENDED: "now"})
    volume = interrupt(lab, first)
    assert not may(second, volume)
    again = lab.up("first")
    assert again.disks[DEVICE] == volume
    assert may(again, volume)
    assert not may(second, volume)
    for name in ("first", "second"):
        lab.down(name)
