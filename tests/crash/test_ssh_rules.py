"""From where ssh is let in: one rule for each computer, which moves with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.conftest import Lab
from xportal.aws import network
from xportal.aws.errors import AwsError
from xportal.errors import UsageError
from xportal.machine.ssh_rules import _mine, let_in
from xportal.spec import SSH_FROM_HERE, MachineSpec, PortalSpec

HERE = "127.0.0.1/32"


@pytest.fixture
def vpc(lab: Lab) -> Iterator[str]:
    """A VPC with our security group in it, empty."""
    vpc_id = network.list_default_subnets(lab.aws)[0].vpc_id
    network.create_security_group(lab.aws, vpc_id)
    yield vpc_id
    group = network.find_security_group(lab.aws, vpc_id)
    assert group
    network.delete_security_group(lab.aws, group.id)


def let(lab: Lab, vpc: str, asked: str | None = None) -> str:
    """As each command does it."""
    group = network.find_security_group(lab.aws, vpc)
    assert group
    return let_in(lab.aws, group, asked)


def rules(lab: Lab, vpc: str) -> dict[str, str]:
    """Those that are there."""
    group = network.find_security_group(lab.aws, vpc)
    assert group
    return dict(group.ssh)


def test_a_computer_that_moved_takes_its_old_address_back(lab: Lab, vpc: str) -> None:
    """Its own alone: not another computer's, a person's, or one of before descriptions."""
    others = {"198.51.100.7/32": "xportal 0123456789ab", "203.0.113.9/32": "somebody", "192.0.2.1/32": ""}
    group = network.find_security_group(lab.aws, vpc)
    assert group
    for cidr, described in {**others, "198.51.100.99/32": _mine()}.items():
        network.allow_ssh(lab.aws, group.id, cidr, described)
    assert let(lab, vpc) == HERE
    assert rules(lab, vpc) == {**others, HERE: _mine()}
    lab.cloud.calls.clear()
    assert let(lab, vpc) == HERE
    assert [call["operation"] for call in lab.cloud.calls.as_json()] == ["DescribeSecurityGroups"]


def test_a_range_that_was_asked_for_stays(lab: Lab, vpc: str) -> None:
    """Later commands go by it, and ask nobody for an address; another one, or "here", takes its place."""
    assert let(lab, vpc) == HERE
    for asked in ("203.0.113.0/24", None, "198.51.100.0/24", None):
        cidr = let(lab, vpc, asked)
        assert asked in (None, cidr)
        assert list(rules(lab, vpc)) == [cidr]
    assert cidr == "198.51.100.0/24"
    assert let(lab, vpc, HERE) == HERE
    assert rules(lab, vpc) == {HERE: f"{_mine()}, as asked for"}
    assert let(lab, vpc, SSH_FROM_HERE) == HERE
    assert rules(lab, vpc) == {HERE: _mine()}


def test_a_group_that_is_full(lab: Lab, vpc: str) -> None:
    """An old rule of our own makes room; without one it is said what to do."""
    group = network.find_security_group(lab.aws, vpc)
    assert group
    for number in range(60):
        network.allow_ssh(lab.aws, group.id, f"198.51.100.{number}/32", "somebody")
    with pytest.raises(AwsError, match="has all the rules that it may have") as caught:
        let(lab, vpc)
    assert "revoke-security-group-ingress" in caught.value.hint
    network.forbid_ssh(lab.aws, group.id, ["198.51.100.0/32"])
    network.allow_ssh(lab.aws, group.id, "203.0.113.9/32", _mine())
    assert let(lab, vpc) == HERE
    assert "203.0.113.9/32" not in rules(lab, vpc)


def test_who_may_not_take_rules_back_is_let_in_all_the_same(lab: Lab, vpc: str) -> None:
    """Without ec2:RevokeSecurityGroupIngress the old rule stays."""
    group = network.find_security_group(lab.aws, vpc)
    assert group
    network.allow_ssh(lab.aws, group.id, "203.0.113.9/32", _mine())
    lab.cloud.add_fault("forbid", operations=("RevokeSecurityGroupIngress",))
    try:
        assert let(lab, vpc) == HERE
    finally:
        lab.cloud.clear_faults()
    assert set(rules(lab, vpc)) == {HERE, "203.0.113.9/32"}


@pytest.mark.parametrize("source", ["nonsense", "203.0.113.9/8", "::/0", ""])
def test_what_is_no_range_is_refused(source: str) -> None:
    """Before anything is asked of AWS."""
    with pytest.raises(UsageError, match="is no range of addresses"):
        PortalSpec("demo", MachineSpec(ssh_from=source))
