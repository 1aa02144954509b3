"""The sandbox's power cut, by the commands of a user."""

from __future__ import annotations

import time

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

MIB = 1024 * 1024


def test_what_was_not_flushed_is_lost(user: User) -> None:
    """After a cut the next `up` attaches the volume: what was fsynced is whole, what was not is lost."""
    user.types("up", "demo", "--cpu", "--size", "2")
    line = "dd if=/dev/zero bs=1M count=5 status=none"
    user.types("ssh", "demo", "--", f"{line} conv=fsync of=/v1/safe && sync && {line} of=/v1/unsafe")
    user.types("sandbox", "interrupt", "demo", "--no-notice")
    deadline = time.monotonic() + 30
    while user.asks("status", "demo")[0]["state"] != "down":
        assert time.monotonic() < deadline, "the machine still has power"
    done = user.types("--json", "up", "demo", "--cpu")
    assert "attaching" in done.stderr  # the volume that was left
    sizes = user.types("ssh", "demo", "--", "stat -c %s /v1/safe; stat -c %s /v1/unsafe 2>/dev/null || echo 0")
    assert [int(size) for size in sizes.stdout.split()] == [5 * MIB, 0]
    user.types("down", "demo")
