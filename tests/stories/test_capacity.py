"""Zones without capacity: the next offer is taken, and nothing is left of those that failed."""

from __future__ import annotations

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine


def test_fourth_offer(user: User) -> None:
    """No capacity in the first three offers: the fourth is used, the output says why, one volume exists."""
    offers = user.asks("up", "demo", "--cpu", "--dry-run")["offers"]
    user.types("sandbox", "fault", "capacity", "--count", "3")
    done = user.types("--json", "up", "demo", "--cpu")
    for offer in offers[:3]:
        assert f"no machine: {offer['type']} in {offer['zone']}" in done.stderr
    assert done.stderr.count("InsufficientInstanceCapacity") == 3
    [portal] = user.asks("status", "demo")
    assert (portal["type"], portal["zone"]) == (offers[3]["type"], offers[3]["zone"])
    drives = [v for v in user.client().describe_volumes()["Volumes"] if v["Attachments"][0]["Device"] == "/dev/sdf"]
    assert len(drives) == 1
    user.types("down", "demo")


def test_no_capacity_anywhere(user: User) -> None:
    """Exit 5, nothing billed, nothing left; when there is capacity again, `up` works."""
    before = user.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
    user.types("sandbox", "fault", "capacity")
    try:
        done = user.types("up", "empty", "--cpu", check=False)
    finally:
        user.types("sandbox", "fault", "clear")
    assert done.returncode == 5
    assert "error: no capacity" in done.stderr
    assert "hint:" in done.stderr
    ec2 = user.client()
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert [g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == before
    user.types("up", "empty", "--cpu")
    user.types("down", "empty")
