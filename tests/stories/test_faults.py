"""Faults that a user asks for: zones without capacity, a full drive, ssh that is cut. One portal lives through them."""

from __future__ import annotations

import socket

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine


def test_no_capacity_anywhere(user: User) -> None:
    """Exit 5, nothing billed, nothing left."""
    before = user.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
    user.types("sandbox", "fault", "capacity")
    try:
        done = user.types("up", "demo", "--cpu", check=False)
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


def test_fourth_offer(user: User) -> None:
    """Then none in the first three offers: the fourth is used, the output says why, one volume exists."""
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


def greeting(user: User) -> bytes:
    """What the machine's ssh says first; nothing when the connection is cut."""
    [machine] = user.asks("sandbox", "status")["machines"]
    with socket.create_connection((machine["public_ip"], 22), timeout=10) as connection:
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def test_a_portal_with_a_full_drive_and_no_ssh(user: User) -> None:
    """Its drive is full, then nobody gets in; after `clear` it is as before."""
    user.types("up", "demo", "--cpu")
    try:
        user.types("sandbox", "fault", "disk-full", "demo")
        full = user.types("ssh", "demo", "--", "echo word > /v1/file && sync", check=False)
        assert "No space left" in full.stderr
        user.types("sandbox", "fault", "ssh-drop", "demo")
        assert "faults    disk-full" in user.types("sandbox", "status").stdout
        assert greeting(user) == b""
        assert [(f["kind"], f["hits"]) for f in user.asks("sandbox", "fault", "list")] == [
            ("disk-full", 1),
            ("ssh-drop", 1),
        ]
    finally:
        user.types("sandbox", "fault", "clear")
    assert greeting(user).startswith(b"SSH-")
    assert user.types("ssh", "demo", "--", "echo word > /v1/file && cat /v1/file").stdout == "word\n"
    user.types("down", "demo")
