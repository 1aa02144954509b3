"""The role of the machines: with it they take the snapshot of their own drives when nobody else is there to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tags import MACHINE, NOBODY, OURS, REMEMBERED, from_aws, to_aws
from xportal.errors import NotOurs, Unreachable

NO_SPOT_ROLE = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
ROLE = "xportal"  # the instance profile's and the policy's name, too
POLICY = "xportal:policy"  # on the instance profile: of which of our policies the role has the text
EC2_SERVICE = "ec2.amazonaws.com"
# The tags that a machine writes. What ends a watch, marks or chooses a copy is none of them.
WRITTEN = (
    *("Name", OURS, f"{REMEMBERED}*"),
    *(f"{OURS}:{key}" for key in ("drive", "generation", "kind", "save", "rolling", "set", "launch", "architecture")),
    *(f"{OURS}:{key}" for key in ("proof", "followed-by")),
)

NOT_THERE_YET = "NoSuchEntity"  # IAM may say so of what it has just made
WRONG_TRUST = "MalformedPolicyDocument"


Conditions = Mapping[str, Mapping[str, Any]]


def policy(role_arn: str) -> dict[str, Any]:
    """What a machine may do: snapshots of its own volumes, with the tags that it writes, and looking for them.

    CreateSnapshot is authorized on the volume and on the snapshot, whose ARN has no account; its tags as CreateTags.
    The condition keys are those that AWS's service authorization reference lists for these actions and resources, and
    ec2:SourceInstanceARN, which AWS documents for requests with the credentials of an instance. Not proved on AWS yet:
    nobody has run it there. A volume that does not say whose it is, as of an older launch, is any machine's.
    """
    _, partition, _, _, account, _ = role_arn.split(":", 5)
    volumes, snapshots = f"arn:{partition}:ec2:*:{account}:volume/*", f"arn:{partition}:ec2:*::snapshot/*"
    whose = f"aws:ResourceTag/{MACHINE}"
    ours = {f"aws:ResourceTag/{OURS}": "1"}
    tagged: Conditions = {
        "StringEquals": {f"aws:RequestTag/{OURS}": "1"},
        "ForAllValues:StringLike": {"aws:TagKeys": list(WRITTEN)},
    }
    as_it_is_made = {**tagged, "StringEquals": {**tagged["StringEquals"], "ec2:CreateAction": "CreateSnapshot"}}
    statements: list[tuple[str, str, Conditions]] = [
        ("ec2:CreateSnapshot", volumes, {"StringEquals": {**ours, whose: "${ec2:SourceInstanceARN}"}}),
        ("ec2:CreateSnapshot", volumes, {"StringEquals": ours, "Null": {whose: "true"}}),
        ("ec2:CreateSnapshot", snapshots, tagged),
        ("ec2:CreateTags", snapshots, as_it_is_made),
        ("ec2:DescribeSnapshots", "*", {}),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            | ({"Condition": conditions} if conditions else {})
            for action, resource, conditions in statements
        ],
    }


def saver_of(aws: Aws, machine: Instance) -> str:
    """The tag of a volume that lets the role of its machine, and of no other, take snapshots of it."""
    parts = machine.profile_arn.split(":", 5)
    if len(parts) < 6:
        return NOBODY
    _, partition, _, _, account, _ = parts
    return f"arn:{partition}:ec2:{aws.region}:{account}:instance/{machine.id}"


def create_spot_role(aws: Aws) -> bool:
    """Make the role that AWS itself needs for the spot machines of an account; whether it is there then.

    AWS makes it with the first spot request, if the user who asks may.
    """
    try:
        aws.call(aws.iam().create_service_linked_role, AWSServiceName="spot.amazonaws.com")
    except AwsError as error:
        return error.code == "InvalidInput"  # it has been made meanwhile
    except Unreachable:
        return False
    return True


def ensure_instance_profile(aws: Aws, tell: Callable[[str], None]) -> str:
    """The name of the instance profile with the role in it, made where it is missing, as this xportal makes it.

    Idempotent; one call if all is well. The role is put into the profile last, so a profile with a role is whole. A
    policy of an older xportal is replaced; `tell` is told if this user may not, and the role serves as it is.
    Raises AwsError if this user may not make it, NotOurs if somebody's own has the name.
    """
    profile = _find_profile(aws)
    if profile is None or not profile["Roles"]:
        _make(aws)
        return ROLE
    if [role["RoleName"] for role in profile["Roles"]] != [ROLE]:
        raise _not_ours("instance profile", "has another role than xportal's in it")
    if from_aws(profile.get("Tags")).get(POLICY) != _version():
        try:
            _put_policy(aws)
        except AwsError as error:
            tell(
                f'the role "{ROLE}" keeps the policy of an older xportal, for it cannot be replaced ({error.message}): '
                "iam:GetRole, iam:PutRolePolicy and iam:TagInstanceProfile allow that"
            )
    return ROLE


def _make(aws: Aws) -> None:
    iam = aws.iam()
    tagged = to_aws({OURS: "1"})
    _create_role(aws, iam, tagged)
    _unless_there(aws, iam.create_instance_profile, InstanceProfileName=ROLE, Tags=tagged)
    there = aws.call_once_known(NOT_THERE_YET, iam.get_instance_profile, InstanceProfileName=ROLE)
    _checked(there["InstanceProfile"], "instance profile")
    _put_policy(aws)
    # One role is all that a profile takes: LimitExceeded says that another `up` was quicker.
    _unless_there(aws, iam.add_role_to_instance_profile, InstanceProfileName=ROLE, RoleName=ROLE)


def _create_role(aws: Aws, iam: Any, tagged: list[Any]) -> None:
    """In China EC2 has had another name as a service: where IAM takes one of them as no name, it is the other."""
    services = [f"{EC2_SERVICE}.cn", EC2_SERVICE] if aws.region.startswith("cn-") else [EC2_SERVICE]
    for service in services:
        try:
            _unless_there(
                aws,
                iam.create_role,
                RoleName=ROLE,
                AssumeRolePolicyDocument=json.dumps(trust(service)),
                Description="xportal's machines: snapshots of their own drives",
                Tags=tagged,
            )
        except AwsError as error:
            if error.code != WRONG_TRUST or service == services[-1]:
                raise
        else:
            return


def trust(service: str) -> dict[str, Any]:
    """Whom the role may be taken on by: EC2, for a machine."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _put_policy(aws: Aws) -> None:
    """The tag that says so comes last: what was cut off is done again."""
    iam = aws.iam()
    role = _checked(aws.call_once_known(NOT_THERE_YET, iam.get_role, RoleName=ROLE)["Role"], "role")
    text = json.dumps(policy(role["Arn"]))
    aws.call_once_known(NOT_THERE_YET, iam.put_role_policy, RoleName=ROLE, PolicyName=ROLE, PolicyDocument=text)
    version = to_aws({POLICY: _version()})
    aws.call_once_known(NOT_THERE_YET, iam.tag_instance_profile, InstanceProfileName=ROLE, Tags=version)


def _version() -> str:
    """Tells one text of the policy from another, whatever the account."""
    text = json.dumps(policy("arn:aws:iam::0:role/xportal"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _find_profile(aws: Aws) -> Any:
    """The instance profile of our name; None if there is none. Raises NotOurs if it lacks our tag."""
    try:
        found = aws.call(aws.iam().get_instance_profile, InstanceProfileName=ROLE)["InstanceProfile"]
    except AwsError as error:
        if error.code != NOT_THERE_YET:
            raise
        return None
    return _checked(found, "instance profile")


def _checked(found: Any, kind: str) -> Any:
    if from_aws(found.get("Tags")).get(OURS) != "1":
        raise _not_ours(kind, f"lacks the tag {OURS}=1")
    return found


def _not_ours(kind: str, why: str) -> NotOurs:
    command, name = (
        ("tag-role", "--role-name") if kind == "role" else ("tag-instance-profile", "--instance-profile-name")
    )
    return NotOurs(
        f'the {kind} "{ROLE}" of this account {why}: it is not xportal\'s, which needs one of that name',
        hint=f"if nothing needs it, delete it in the AWS console; to let xportal have it: aws iam {command} "
        f"{name} {ROLE} --tags Key={OURS},Value=1",
    )


def _unless_there(aws: Aws, operation: Any, **parameters: Any) -> None:
    try:
        aws.call_once_known(NOT_THERE_YET, operation, **parameters)
    except AwsError as error:
        if error.code not in ("EntityAlreadyExists", "LimitExceeded"):
            raise
