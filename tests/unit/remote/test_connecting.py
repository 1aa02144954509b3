"""What is said of a machine that does not answer."""

from __future__ import annotations

from pathlib import Path

from xportal.remote.connecting import told_while_silent
from xportal.remote.host import Login

LOGIN = Login("192.0.2.7", "ec2-user", Path("key"), "ssh-ed25519 AAAA", let_in="203.0.113.9/32")


def test_after_a_minute_it_is_said_what_was_let_in_and_what_to_try() -> None:
    """Until then the machine boots."""
    assert told_while_silent(LOGIN, 59, 300) == "192.0.2.7 does not answer yet; trying for 300 s in all"
    late = told_while_silent(LOGIN, 60, 300)
    assert "ssh is let in from 203.0.113.9/32" in late
    assert "up --ssh-from CIDR" in late
