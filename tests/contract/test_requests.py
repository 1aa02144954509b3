"""Rules of every request: credentials, regions, actions, documents."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

import pytest
import requests

from tests.contract.conftest import Account, Refuse, make_client
from tests.user import Signing


def test_a_region_must_exist(account: Account, refused: Refuse) -> None:
    """Credentials scoped to a region that AWS does not have are refused."""
    client = make_client("ec2", account.cloud.endpoint_url, "us-nowhere-1")
    assert refused(client.describe_instances).code == "AuthFailure"


def test_who_am_i(account: Account) -> None:
    """GetCallerIdentity tells the sandbox's account, which owns what is made."""
    identity = account.client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"
    snapshot = account.ec2.create_snapshot(VolumeId=account.make_volume())
    assert snapshot["OwnerId"] == identity["Account"]


@pytest.mark.parametrize(
    ("call", "given", "code"),
    [
        ("describe_fast_snapshot_restores", {}, "InvalidAction"),
        (
            "describe_volume_attribute",
            {"VolumeId": "vol-0123456789abcdef0", "Attribute": "autoEnableIO"},
            "InvalidAction",
        ),
        ("reboot_instances", {"InstanceIds": ["i-0123456789abcdef0"]}, "UnsupportedOperation"),
        ("create_image", {"InstanceId": "i-0123456789abcdef0", "Name": "name"}, "UnsupportedOperation"),
    ],
)
def test_what_is_not_provided_says_so(
    account: Account, refused: Refuse, call: str, given: dict[str, object], code: str
) -> None:
    """An action that the sandbox lacks gets an error document, not HTML."""
    no = refused(getattr(account.ec2, call), **given)
    assert (no.code, no.status) == (code, 400)


def test_a_service_that_is_not_provided_says_so(account: Account, refused: Refuse) -> None:
    """So does a whole service."""
    assert refused(make_client("sns", account.cloud.endpoint_url).list_topics).code == "InvalidAction"


def test_answers_have_aws_s_clock(account: Account) -> None:
    """The Date header tells the time: it is the only clock a client compares with."""
    answer = account.ec2.describe_volumes()["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert abs((parsedate_to_datetime(answer) - datetime.now(timezone.utc)).total_seconds()) < 5


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("create_volume", {"AvailabilityZone": "us-east-1a", "Size": 1}),
        ("import_key_pair", {"KeyName": "k", "PublicKeyMaterial": b"ssh-ed25519 AAAA"}),
        ("create_security_group", {"GroupName": "g", "Description": "d"}),
        ("describe_instances", {}),
    ],
)
def test_dry_run_does_nothing(account: Account, refused: Refuse, call: str, given: dict[str, object]) -> None:
    """DryRun is answered with DryRunOperation, and nothing is made."""
    assert refused(getattr(account.ec2, call), DryRun=True, **given).code == "DryRunOperation"
    assert account.ec2.describe_volumes()["Volumes"] == []
    assert account.ec2.describe_key_pairs()["KeyPairs"] == []
    assert len(account.ec2.describe_security_groups()["SecurityGroups"]) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("aws:mine", "v"), ("k" * 129, "v"), ("k", "v" * 257)],
    ids=["reserved", "long key", "long value"],
)
def test_tags_have_limits(account: Account, refused: Refuse, key: str, value: str) -> None:
    """Reserved keys, keys over 128 and values over 256 characters are refused, on create and later."""
    tags = [{"Key": key, "Value": value}]
    spec = [{"ResourceType": "volume", "Tags": tags}]
    request = {"AvailabilityZone": "us-east-1a", "Size": 1}
    assert refused(account.ec2.create_volume, **request, TagSpecifications=spec).code == "InvalidParameterValue"
    volume = account.make_volume()
    assert refused(account.ec2.create_tags, Resources=[volume], Tags=tags).code == "InvalidParameterValue"


def test_strange_values_come_back_as_they_went(account: Account) -> None:
    """Quotes, markup, newlines and other alphabets survive the XML, in tags and in filters."""
    value = "a \"b\" <c> & 'd' $(e)\nf ünï 漢"
    spec = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": value}]}]
    volume = account.make_volume(TagSpecifications=spec)
    found = account.ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": [value]}])["Volumes"]
    assert [(v["VolumeId"], v["Tags"][0]["Value"]) for v in found] == [(volume, value)]


def test_a_token_that_is_none_is_refused(account: Account, refused: Refuse) -> None:
    """NextToken is checked."""
    assert refused(account.ec2.describe_volumes, NextToken="nonsense").code == "InvalidNextToken"


def test_an_action_that_aws_does_not_have_is_invalid(account: Account) -> None:
    """Signed for EC2 or not, an unknown action or none is an error document with InvalidAction or the like."""
    for service, action in (("ec2", "Fly"), ("sts", "Fly"), ("ec2", ""), ("iam", "")):
        answer = requests.post(
            account.cloud.endpoint_url,
            data={"Action": action},
            auth=Signing(service),
            timeout=5,
        )
        assert answer.status_code in (400, 404), (service, action, answer.text)
        assert "<Code>InvalidAction</Code>" in answer.text or "<Code>MissingAction</Code>" in answer.text


def test_elements_have_no_order(account: Account) -> None:
    """Those of one snapshot come now in this order, now in that; what they say is the same."""
    account.make_snapshot(account.make_volume())
    request = {"Action": "DescribeSnapshots", "Version": "2016-11-15", "Owner.1": "self"}
    orders, told = set(), []
    for _ in range(10):
        answer = requests.post(account.cloud.endpoint_url, data=request, auth=Signing("ec2"), timeout=10)
        [item] = ElementTree.fromstring(answer.text).iterfind(".//{*}snapshotSet/{*}item")
        orders.add(tuple(element.tag for element in item))
        told.append({element.tag: element.text for element in item})
    assert len(orders) > 5
    assert all(one == told[0] for one in told)
