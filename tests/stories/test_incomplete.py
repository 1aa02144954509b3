"""Saves that are cut off, on a real machine: killed, without ssh, refused by AWS. One command finishes each."""

from __future__ import annotations

import re
import signal

import pytest

from tests.stories.conftest import User
from xportal.sandbox import admin

pytestmark = pytest.mark.machine


def write(user: User, word: str) -> None:
    """A line in a file of the drive, on disk when this returns."""
    user.types("ssh", "demo", "--", f"echo {word} >> /v1/words && sync /v1/words")


def words(user: User) -> list[str]:
    """What the file holds."""
    return user.types("ssh", "demo", "--", "cat", "/v1/words").stdout.split()


def test_killed_and_refused(user: User, desk: User) -> None:
    """`down` is killed in the middle of the save; then AWS finishes no snapshot: exit 6; then what it says is typed."""
    user.types("up", "demo", "--cpu", "--size", "1")
    [volume] = [v["VolumeId"] for v in user.client().describe_volumes()["Volumes"] if v["Size"] == 1]
    write(user, "kept")
    with user.starts("down", "demo") as down:
        assert down.stderr
        for line in down.stderr:
            if "Stopping Docker" in line:
                down.kill()
    assert down.returncode == -signal.SIGKILL

    user.types("sandbox", "fault", "snapshot-fail")
    refused = desk.types("down", "demo", check=False)
    assert refused.returncode == 6, refused.stderr
    *_, error, hint, billed = refused.stderr.strip().splitlines()
    assert re.fullmatch(
        f'error: drive "demo": {volume} keeps everything.*could not finish snap-.*nothing is lost', error
    )
    assert billed == f"billed: {volume} 1 GiB"  # and no machine: that one was ended
    assert {row["state"] for row in user.asks("status", "demo")} <= {"shutting-down", "down"}

    user.types("sandbox", "fault", "clear")
    [command] = re.findall(r"^hint: +xportal (.*?)  +finishes it", hint)
    assert "saved as snap-" in desk.types(*command.split()).stdout
    desk.types("up", "demo", "--cpu")
    assert words(desk) == ["kept"]

    write(desk, "cut")
    # Somebody who hears no SIGTERM makes the save wait long enough for the cut to come in the middle of it.
    deaf = "trap '' TERM HUP; while :; do sleep 1; done"
    started = f'cd /v1; setsid bash -c "{deaf}" > /dev/null 2>&1 < /dev/null &'
    desk.types("ssh", "demo", "--", started)
    endpoint = user.asks("sandbox", "status")["endpoint_url"]
    machine = user.asks("status", "demo")[0]["machine"]
    with desk.starts("down", "demo") as down:
        assert down.stderr
        told = []
        for line in down.stderr:
            told.append(line)
            if "The drive is held by" in line:
                admin.call(endpoint, user.secret, "POST", "faults", {"kind": "ssh-drop", "instance_id": machine})
            if "asking again" in line:
                admin.call(endpoint, user.secret, "DELETE", "faults")
    assert down.returncode == 0, "".join(told)
    assert "asking again" in "".join(told)
    desk.types("up", "demo", "--cpu")
    assert words(desk) == ["kept", "cut"]
    desk.types("down", "demo", "--discard", "--yes")
