"""Rules of requests that hold whatever there is: forms of ids, documented filters, lengths and patterns as data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.conftest import Account, Refuse
from xportal.sandbox.api.data import load
from xportal.sandbox.api.errors import RefusedError
from xportal.sandbox.api.limits import check_limits


@pytest.mark.aws
@pytest.mark.parametrize(
    ("call", "given", "code"),
    [
        ("describe_instances", {"InstanceIds": ["i-123"]}, "InvalidInstanceID.Malformed"),
        ("terminate_instances", {"InstanceIds": ["i-0123456789ABCDEF0"]}, "InvalidInstanceID.Malformed"),
        ("delete_volume", {"VolumeId": "snap-0123456789abcdef0"}, "InvalidVolumeID.Malformed"),
        ("describe_snapshots", {"SnapshotIds": ["snap-zzzzzzzz"]}, "InvalidSnapshotID.Malformed"),
        ("delete_security_group", {"GroupId": "xportal"}, "InvalidGroupId.Malformed"),
        ("describe_images", {"ImageIds": ["ami-1"]}, "InvalidAMIID.Malformed"),
        ("create_tags", {"Resources": ["nobody"], "Tags": [{"Key": "a", "Value": "b"}]}, "InvalidID"),
        ("describe_volumes", {"VolumeIds": ["vol-01234567"]}, "InvalidVolume.NotFound"),
        ("describe_snapshots", {"SnapshotIds": ["snap-0123456789abcdef0"]}, "InvalidSnapshot.NotFound"),
    ],
)
def test_ids_have_a_form(account: Account, refused: Refuse, call: str, given: dict[str, Any], code: str) -> None:
    """A prefix and 8 or 17 hexadecimal digits. What has the form and is not there is NotFound."""
    assert refused(getattr(account.ec2, call), **given).code == code


@pytest.mark.aws
def test_each_call_has_its_documented_filters(account: Account, refused: Refuse) -> None:
    """Those of another call are refused, and moto's own as well; a tag's key may be anything."""
    wrong = {
        "describe_volumes": "tag-value",
        "describe_snapshots": "tag-value",
        "describe_instances": "tag-value",
        "describe_key_pairs": "tag-value",
        "describe_subnets": "default-for-zone",
        "describe_security_groups": "tag-value",
        "describe_instance_status": "tag:xportal",
    }
    for call, name in wrong.items():
        no = refused(getattr(account.ec2, call), Filters=[{"Name": name, "Values": ["x"]}])
        assert (no.code, no.message) == ("InvalidParameterValue", f"The filter '{name}' is invalid"), call
    assert account.ec2.describe_volumes(Filters=[{"Name": "tag:a b:c", "Values": ["x"]}])["Volumes"] == []


@pytest.mark.aws
def test_a_filter_has_one_to_200_values(account: Account, refused: Refuse) -> None:
    """None and 201 are refused."""
    for values, code in (([], "InvalidParameterValue"), (["x"] * 201, "FilterLimitExceeded")):
        assert refused(account.ec2.describe_volumes, Filters=[{"Name": "status", "Values": values}]).code == code
    account.ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["x"] * 200}])


def test_a_zone_that_is_not_there(account: Account, refused: Refuse) -> None:
    """InvalidZone.NotFound; a launch has InvalidParameterValue."""
    assert refused(account.ec2.create_volume, AvailabilityZone="us-east-1x", Size=1).code == "InvalidZone.NotFound"
    assert refused(account.ec2.describe_availability_zones, ZoneNames=["us-east-1x"]).code == "InvalidZone.NotFound"
    assert refused(account.launch, "us-east-1x").code == "InvalidParameterValue"


def test_parameters_have_their_lengths_and_patterns(account: Account, refused: Refuse) -> None:
    """A role's name and description, the keys of its tags; EC2 Instance Connect's user and key."""
    iam, trust = account.client("iam"), json.dumps({"Version": "2012-10-17", "Statement": []})
    good: dict[str, Any] = {"RoleName": "mine", "AssumeRolePolicyDocument": trust}
    for wrong in (
        {"RoleName": "my role"},
        {"RoleName": "x" * 65},
        {"Description": "a heart: \u2665"},
        {"Tags": [{"Key": "what?", "Value": ""}]},
    ):
        no = refused(iam.create_role, **{**good, **wrong})
        assert (no.code, no.status) == ("ValidationError", 400), wrong
        assert "failed to satisfy constraint" in no.message
    iam.create_role(**good, Description="xportal's machines", Tags=[{"Key": "stra\u00dfe 1:a/b", "Value": ""}])
    connect = account.client("ec2-instance-connect").send_ssh_public_key
    no = refused(connect, InstanceId="i-0123456789abcdef0", InstanceOSUser="ec2 user", SSHPublicKey="k" * 80)
    assert no.code == "ValidationException"


def test_the_schemas_and_the_documents_agree() -> None:
    """A description that EC2's documents forbid is one that CloudFormation's schema forbids."""
    for text, is_right in (("xportal: ssh", True), ("xportal's", False), ("x" * 256, False)):
        try:
            check_limits("ec2", "CreateSecurityGroup", {"Description": text})
        except RefusedError:
            assert not is_right
        else:
            assert is_right


def test_the_data_say_where_they_are_from() -> None:
    """Each file names its package and that package's version."""
    assert "botocore" in load("filters")["source"]
    assert all(package in load("limits")["source"] for package in ("botocore", "cfn-lint"))
