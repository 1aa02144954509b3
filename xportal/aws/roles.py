"""The role of the machines: with it they take the snapshot of their own drives when nobody else is there to."""

from __future__ import annotations

import json
from typing import Any

from xportal.aws.errors import AwsError
from xportal.aws.session import Aws
from xportal.aws.tags import OURS, to_aws

ROLE = "xportal"  # the instance profile's and the policy's name, too
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy(role_arn: str) -> dict[str, Any]:
    """What a machine may do: snapshots of volumes that are xportal's, tagged as such, and looking for them.

    CreateSnapshot is authorized on the volume and on the snapshot, whose ARN has no account; its tags as CreateTags.
    """
    _, partition, _, _, account, _ = role_arn.split(":", 5)
    volumes, snapshots = f"arn:{partition}:ec2:*:{account}:volume/*", f"arn:{partition}:ec2:*::snapshot/*"
    statements: list[tuple[list[str], str, dict[str, str]]] = [
        (["ec2:CreateSnapshot"], volumes, {f"aws:ResourceTag/{OURS}": "1"}),
        (["ec2:CreateSnapshot"], snapshots, {f"aws:RequestTag/{OURS}": "1"}),
        (["ec2:CreateTags"], snapshots, {"ec2:CreateAction": "CreateSnapshot"}),
        (["ec2:DescribeSnapshots"], "*", {}),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": resource}
            | ({"Condition": {"StringEquals": conditions}} if conditions else {})
            for actions, resource, conditions in statements
        ],
    }


def ensure_instance_profile(aws: Aws) -> str:
    """The name of the instance profile with the role in it, made where it is missing. Idempotent.

    The role is put into the profile last, so a profile with a role is whole. Raises AwsError if this user may not.
    """
    iam = aws.iam()
    try:
        found = aws.call(iam.get_instance_profile, InstanceProfileName=ROLE)
        if found["InstanceProfile"]["Roles"]:
            return ROLE
    except AwsError as error:
        if error.code != "NoSuchEntity":
            raise
    described = "xportal's machines: snapshots of their own drives"
    tagged = to_aws({OURS: "1"})
    _unless_there(
        aws,
        iam.create_role,
        RoleName=ROLE,
        AssumeRolePolicyDocument=json.dumps(TRUST),
        Description=described,
        Tags=tagged,
    )
    arn = aws.call(iam.get_role, RoleName=ROLE)["Role"]["Arn"]
    aws.call(iam.put_role_policy, RoleName=ROLE, PolicyName=ROLE, PolicyDocument=json.dumps(policy(arn)))
    _unless_there(aws, iam.create_instance_profile, InstanceProfileName=ROLE, Tags=tagged)
    # One role is all that a profile takes: LimitExceeded says that another `up` was quicker.
    _unless_there(aws, iam.add_role_to_instance_profile, InstanceProfileName=ROLE, RoleName=ROLE)
    return ROLE


def _unless_there(aws: Aws, operation: Any, **parameters: Any) -> None:
    try:
        aws.call(operation, **parameters)
    except AwsError as error:
        if error.code not in ("EntityAlreadyExists", "LimitExceeded"):
            raise
