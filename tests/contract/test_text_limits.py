"""Rules of the texts that EC2 takes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import Account, Refuse

FINE = "a-z A-Z 0-9 ._-:/()#,@[]+=&;{}!$*"


def rule(**text: str) -> list[dict[str, Any]]:
    """A rule for ssh."""
    return [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32", **text}]}]


@pytest.mark.parametrize("text", ["the caller's", '"quoted"', "ü", "a\nb", "what?", "100%", "x" * 256])
def test_a_group_s_texts_are_of_ec2_s_characters(account: Account, refused: Refuse, text: str) -> None:
    """A name or description with any other character, or too long, is InvalidParameterValue; one of all is taken."""
    make = account.ec2.create_security_group
    assert refused(make, GroupName="group", Description=text).code == "InvalidParameterValue"
    assert refused(make, GroupName=text, Description="fine").code == "InvalidParameterValue"
    assert refused(make, GroupName="sg-mine", Description="fine").code == "InvalidParameterValue"
    assert make(GroupName=FINE, Description=FINE)["GroupId"]


@pytest.mark.parametrize("text", ["the caller's", "ü", "x" * 256])
def test_a_rule_s_description_is_of_ec2_s_characters(account: Account, refused: Refuse, text: str) -> None:
    """The same of rules, in and out, new and changed."""
    ec2 = account.ec2
    group = ec2.create_security_group(GroupName="group", Description="fine")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule(Description=FINE))
    for call in (
        ec2.authorize_security_group_ingress,
        ec2.authorize_security_group_egress,
        ec2.update_security_group_rule_descriptions_ingress,
    ):
        no = refused(call, GroupId=group, IpPermissions=rule(Description=text))
        assert (no.code, "rule description" in no.message) == ("InvalidParameterValue", True), call


def test_a_snapshot_s_description_has_255_characters(account: Account, refused: Refuse) -> None:
    """255 characters of any kind are taken, one more is InvalidParameterValue."""
    volume = account.make_volume()
    no = refused(account.ec2.create_snapshot, VolumeId=volume, Description="x" * 256)
    assert no.code == "InvalidParameterValue"
    assert account.ec2.create_snapshot(VolumeId=volume, Description="'" * 255)["SnapshotId"]


@pytest.mark.parametrize("token", ["x" * 65, "ü"])
def test_a_client_token_has_64_ascii_characters(account: Account, refused: Refuse, token: str) -> None:
    """Longer ones, and others, are InvalidParameterValue."""
    assert refused(account.launch, ClientToken=token).code == "InvalidParameterValue"
    assert account.launch(ClientToken="x" * 64)
