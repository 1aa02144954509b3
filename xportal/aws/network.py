"""The default VPC's subnets, and the one security group per VPC."""

from __future__ import annotations

from typing import Any

from xportal.aws.errors import AwsError
from xportal.aws.records import Subnet
from xportal.aws.session import Aws
from xportal.aws.tags import OURS, to_aws

GROUP_NAME = "xportal"


def list_default_subnets(aws: Aws) -> list[Subnet]:
    """The default subnet of each zone; empty in an account without a default VPC."""
    items = aws.pages("describe_subnets", "Subnets", Filters=[{"Name": "default-for-az", "Values": ["true"]}])
    return [Subnet(item["SubnetId"], item["AvailabilityZone"], item["VpcId"]) for item in items]


def find_security_group(aws: Aws, vpc_id: str) -> str | None:
    """The id of our security group in a VPC."""
    filters: list[Any] = [{"Name": "group-name", "Values": [GROUP_NAME]}, {"Name": "vpc-id", "Values": [vpc_id]}]
    groups = aws.call(aws.ec2.describe_security_groups, Filters=filters)["SecurityGroups"]
    return groups[0]["GroupId"] if groups else None


def create_security_group(aws: Aws, vpc_id: str) -> str:
    """Our security group in a VPC, made if it is missing; its id."""
    try:
        answer = aws.call(
            aws.ec2.create_security_group,
            GroupName=GROUP_NAME,
            Description="xportal: ssh from the addresses of its callers",
            VpcId=vpc_id,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": to_aws({OURS: "1"})}],
        )
    except AwsError as error:
        found = find_security_group(aws, vpc_id) if error.code == "InvalidGroup.Duplicate" else None
        if found is None:
            raise
        return found
    return answer["GroupId"]


def allow_ssh(aws: Aws, group_id: str, cidr: str) -> None:
    """Let `cidr` reach tcp/22; a rule that is there already is fine."""
    try:
        aws.call_once_known(
            "InvalidGroup.NotFound",
            aws.ec2.authorize_security_group_ingress,
            GroupId=group_id,
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": cidr}]}],
        )
    except AwsError as error:
        if error.code != "InvalidPermission.Duplicate":
            raise


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
