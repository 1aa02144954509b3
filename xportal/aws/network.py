"""The default VPC's subnets, and the one security group per VPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xportal.aws.answers import record
from xportal.aws.errors import AwsError
from xportal.aws.records import SecurityGroup, Subnet
from xportal.aws.session import Aws
from xportal.aws.tags import OURS, from_aws, to_aws
from xportal.errors import NotOurs

GROUP_NAME = "xportal"
SSH = ("tcp", 22, 22)


def list_default_subnets(aws: Aws) -> list[Subnet]:
    """The default subnet of each zone; empty in an account without a default VPC."""
    items = aws.pages("describe_subnets", "Subnets", Filters=[{"Name": "default-for-az", "Values": ["true"]}])
    return [Subnet(item["SubnetId"], item["AvailabilityZone"], item["VpcId"]) for item in items]


def find_security_group(aws: Aws, vpc_id: str) -> SecurityGroup | None:
    """Our security group in a VPC. One of that name that lacks our tag is somebody's own."""
    return next((_group(group) for group in _named_so(aws, vpc_id) if _is_ours(group)), None)


@record
def _group(item: Any) -> SecurityGroup:
    ranges = [
        found
        for rule in item.get("IpPermissions", [])
        if (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort")) == SSH
        for found in rule.get("IpRanges", [])
    ]
    return SecurityGroup(item["GroupId"], {found["CidrIp"]: found.get("Description", "") for found in ranges})


def _named_so(aws: Aws, vpc_id: str) -> list[Any]:
    filters: list[Any] = [{"Name": "group-name", "Values": [GROUP_NAME]}, {"Name": "vpc-id", "Values": [vpc_id]}]
    groups: list[Any] = aws.call(aws.ec2.describe_security_groups, Filters=filters)["SecurityGroups"]
    return groups


def _is_ours(group: Any) -> bool:
    return from_aws(group.get("Tags")).get(OURS) == "1"


def create_security_group(aws: Aws, vpc_id: str) -> SecurityGroup:
    """Our security group in a VPC, made if it is missing. Raises NotOurs if somebody's own has its name."""
    try:
        answer = aws.call(
            aws.ec2.create_security_group,
            GroupName=GROUP_NAME,
            Description="xportal: ssh from the addresses of its callers",
            VpcId=vpc_id,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": to_aws({OURS: "1"})}],
        )
    except AwsError as error:
        there = _named_so(aws, vpc_id) if error.code == "InvalidGroup.Duplicate" else []
        if not there:
            raise
        group = there[0]
        if not _is_ours(group):
            raise _not_ours(group["GroupId"], vpc_id) from error
        return _group(group)
    return SecurityGroup(answer["GroupId"])


def _not_ours(group_id: str, vpc_id: str) -> NotOurs:
    return NotOurs(
        f'the security group "{GROUP_NAME}" of {vpc_id}, {group_id}, lacks the tag {OURS}=1: it is not xportal\'s, '
        "which needs one of that name",
        hint=f"if nothing needs it: aws ec2 delete-security-group --group-id {group_id}; to let xportal have it: "
        f"aws ec2 create-tags --resources {group_id} --tags Key={OURS},Value=1",
    )


def allow_ssh(aws: Aws, group_id: str, cidr: str, described: str) -> None:
    """Let `cidr` reach tcp/22; a rule that is there already is fine, whoever it is of."""
    try:
        aws.call_once_known(
            "InvalidGroup.NotFound",
            aws.ec2.authorize_security_group_ingress,
            GroupId=group_id,
            IpPermissions=[_from([{"CidrIp": cidr, "Description": described}])],
        )
    except AwsError as error:
        if error.code != "InvalidPermission.Duplicate":
            raise


def forbid_ssh(aws: Aws, group_id: str, cidrs: Sequence[str]) -> None:
    """Take back what lets these reach tcp/22; none is fine, and so is a rule that is gone."""
    for cidr in cidrs:  # one call each: with one that is gone AWS would take back none
        try:
            aws.call(aws.ec2.revoke_security_group_ingress, GroupId=group_id, IpPermissions=[_from([{"CidrIp": cidr}])])
        except AwsError as error:
            if error.code != "InvalidPermission.NotFound":
                raise


def _from(ranges: list[Any]) -> Any:
    protocol, first, last = SSH
    return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "IpRanges": ranges}


def delete_security_group(aws: Aws, group_id: str) -> bool:
    """Delete the group unless a machine uses it; whether it is gone."""
    try:
        aws.call(aws.ec2.delete_security_group, GroupId=group_id)
    except AwsError as error:
        if error.code == "DependencyViolation":
            return False
        if error.code != "InvalidGroup.NotFound":
            raise
    return True
