"""Checkpoints, saves that nobody waits for, older copies, what is thrown away, saves that are cut off; on machines.

One portal lives through it: each test begins with an `up`, which finds the machine that the test before has left.
"""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.stories.conftest import User
from tests.stories.test_hard_saves import MAKE, NODES, results, run, use
from tests.stories.test_killed_down import ALONE, kill_down, nothing_is_billed
from tests.stories.test_killed_up import live_machines
from tests.stories.test_notice import snapshots
from xportal.agent.full.checkpoint import LIMIT_SECONDS
from xportal.sandbox import admin

pytestmark = pytest.mark.machine

AGENT = "sudo /opt/xportal/agent"
TOUCH = "timeout 60 sudo touch /v1/after"  # on a frozen drive it hangs


def write(user: User, word: str) -> None:
    """A line in a file of the drive, on disk when this returns."""
    user.types("ssh", "demo", "--", f"echo {word} >> /v1/words && sync /v1/words")


def words(user: User) -> list[str]:
    """What the file holds."""
    return user.types("ssh", "demo", "--", "cat", "/v1/words").stdout.split()


def frozen_log(user: User, name: str) -> None:
    """Freeze, and return when it says so."""
    said = f"grep -q '\"frozen\"' /run/xportal/log/{name}.jsonl"
    user.types("ssh", "demo", "--", f"{AGENT} freeze {name} && until {said}; do sleep 0.05; done")


def test_saves(user: User) -> None:
    """Two lives: a checkpoint, a down that does not wait, a restore of the checkpoint, a discard."""
    user.types("up", "demo", "--cpu", "--size", "1")
    write(user, "one")
    checkpoint = user.asks("save", "demo")["drives"][0]["snapshot"]
    assert checkpoint["state"] == "completed"
    write(user, "two")

    user.types("down", "demo", "--no-wait")
    assert all(row["state"] != "running" for row in user.asks("status"))
    user.types("sweep")
    [final, before] = user.asks("drives", "history", "demo")
    assert (final["kind"], final["state"], final["note"]) == ("final", "completed", "newest")
    assert (before["id"], before["kind"]) == (checkpoint["id"], "checkpoint")

    user.types("up", "demo")
    assert words(user) == ["one", "two"]
    write(user, "three")
    refused = user.types("down", "demo", "--discard", check=False)
    assert refused.returncode == 2
    assert "is deleted without being saved" in refused.stderr
    assert words(user) == ["one", "two", "three"]
    assert "nothing was saved" in user.types("down", "demo", "--discard", "--yes").stdout

    user.types("drives", "restore", "demo", checkpoint["id"])
    user.types("up", "demo")
    assert words(user) == ["one"]


def test_killed_and_refused(user: User, desk: User) -> None:
    """`down` is killed in the middle of the save; then AWS finishes no snapshot: exit 6; then what it says is typed."""
    user.types("up", "demo", "--cpu", "--size", "1")
    user.types("ssh", "demo", "--", "rm -f /v1/words")
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


def test_down_with_an_image_a_swap_file_and_a_dead_file_server(user: User) -> None:
    """They are named and taken off, what was written in the image is saved, and the snapshot is final."""
    user.types("up", "demo", "--cpu")
    run(user, NODES + MAKE)
    use(user, "first")
    began = time.monotonic()
    told = user.types("down", "demo").stderr
    assert time.monotonic() - began < 120
    assert "held by the swap file /v1/swap" in told
    assert "held by the disk image /v1/data.img" in told
    assert "sleep inf (pid" in told
    assert snapshots(user)[-1]["xportal:kind"] == "final"
    assert "could not" not in told  # it is that of the unmounted volume, on a machine that ran still
    user.types("up", "demo", "--cpu")
    assert results(user) == ["first"]


def test_up_finishes_a_down_that_died(user: User) -> None:
    """It does not wait for the machine to end itself, and does not refuse."""
    user.types("up", "demo", "--cpu")
    user.types("ssh", "demo", "--", "echo third > ~/file")
    kill_down(user, ALONE)
    before = live_machines(user.client())
    user.types("up", "demo", "--cpu")
    after = live_machines(user.client())
    assert [one["InstanceId"] for one in after] != [one["InstanceId"] for one in before]
    assert user.types("ssh", "demo", "--", "cat ~/file").stdout == "third\n"
    user.types("down", "demo")
    nothing_is_billed(user)


@pytest.mark.all
def test_a_freeze_always_ends(user: User) -> None:
    """The agent that froze the drive is killed; nobody says that it is over: each time the drive thaws."""
    user.types("up", "demo", "--size", "1")
    frozen_log(user, "killed")
    user.types("ssh", "demo", "--", "sudo systemctl kill -s KILL xportal-freeze@killed.service")
    user.types("ssh", "demo", "--", TOUCH)

    frozen_log(user, "forgotten")
    began = time.monotonic()
    user.types("ssh", "demo", "--", TOUCH)
    assert time.monotonic() - began < LIMIT_SECONDS + 10
    end = user.types("ssh", "demo", "--", "tail", "-1", "/run/xportal/log/forgotten.jsonl").stdout
    assert '"in_time": false' in end

    frozen_log(user, "overtaken")
    began = time.monotonic()
    user.types("down", "demo")
    assert time.monotonic() - began < LIMIT_SECONDS
