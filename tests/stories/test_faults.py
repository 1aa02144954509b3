"""Faults of a portal's machine, by its name."""

from __future__ import annotations

import socket

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine


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
