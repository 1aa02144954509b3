"""AWS takes the machine back and nobody is there, or somebody who follows a container. What was acknowledged
comes back, the containers running.
"""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User

pytestmark = pytest.mark.machine

# A line counts as written once it is flushed. It goes on with the number after the last.
LEDGER = """n=0; while read last; do n=$last; done < /v1/ledger
while :; do n=$((n+1)); echo $n >> /v1/ledger; sync /v1/ledger; sleep 0.1; done"""
# As good training code does, it ends well when it is asked to.
TRAIN = "trap 'echo saved; exit 0' TERM; echo began; while :; do sleep 0.2; done"
SECONDS = 20.0


def interrupt(user: User) -> int:
    """Let AWS take the machine back, and wait until it is gone. The acknowledged lines."""
    acknowledged = ledger(user)[-1]
    user.types("sandbox", "interrupt", "demo", "--notice-seconds", f"{SECONDS:.0f}")
    wait_until_gone(user)
    return acknowledged


def wait_until_gone(user: User) -> None:
    """No machine is left."""
    deadline = time.monotonic() + SECONDS + 30
    while user.asks("status"):
        assert time.monotonic() < deadline, "the machine still has power"
        time.sleep(1)


def ledger(user: User) -> list[int]:
    """The lines on the drive."""
    return [int(line) for line in user.types("ssh", "demo", "--", "cat", "/v1/ledger").stdout.split()]


def snapshots(user: User) -> list[dict[str, str]]:
    """The tags of all snapshots, oldest first."""
    found = user.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return [{tag["Key"]: tag["Value"] for tag in s["Tags"]} for s in sorted(found, key=lambda s: s["StartTime"])]


def go_on(user: User, acknowledged: int) -> str:
    """The next `up`: every acknowledged line is there, in order, and the container goes on. What `up` told."""
    told = user.types("up", "demo", "--cpu").stderr
    lines = ledger(user)
    assert lines == list(range(1, len(lines) + 1))
    assert len(lines) >= acknowledged
    user.types("ssh", "demo", "--", f"until test $(wc -l < /v1/ledger) -gt {len(lines)}; do sleep 0.1; done")
    return told


def volumes(user: User) -> list[Any]:
    """The volumes that no machine has."""
    found: list[Any] = user.client().describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]
    return found


def follow(user: User) -> list[subprocess.Popen[str]]:
    """`logs -f` and `run --attach` of two containers, once they have shown something."""
    user.types("run", "demo", "--name", "told", "--no-init", "tiny", "--", "sh", "-c", TRAIN)
    attach = ("run", "demo", "--attach", "--no-init", "--name", "attached", "tiny", "--", "sh", "-c", TRAIN)
    followers = [user.starts("logs", "-f", "demo", "told"), user.starts(*attach)]
    for follower in followers:
        assert follower.stdout
        assert follower.stdout.readline() == "began\n"
    return followers


def interrupt_followers(user: User) -> int:
    """As `interrupt`: the followers end with 3, though the containers ended with 0, and `status` says why it went."""
    followers = follow(user)
    acknowledged = ledger(user)[-1]
    user.types("sandbox", "interrupt", "demo", "--notice-seconds", f"{SECONDS:.0f}")
    while "running, sav" not in (told := user.types("status", "demo")).stdout:  # saving, or saved by now
        assert "running" in told.stdout
    assert "AWS takes the machine back at" in told.stderr
    for follower in followers:
        out, err = follower.communicate(timeout=60)
        assert (follower.returncode, out) == (3, "saved\n"), err
        assert "AWS takes the machine back at" in err
    wait_until_gone(user)
    assert "AWS took its machine back, which saved itself at" in user.types("status", "demo").stdout
    return acknowledged


def rehearse(user: User) -> None:
    """The same save without an end: a table of its steps, a checkpoint, and the container goes on."""
    before, lines = len(snapshots(user)), ledger(user)[-1]
    told = user.types("rehearse", "demo").stdout.splitlines()
    steps = {row.split("\t")[0]: float(row.split("\t")[1]) for row in told[1:-1]}
    assert {"stop", "docker", "sync", "unmount", "snapshot"} <= set(steps)
    [(took, back)] = re.findall(r"checkpoint snap-\w+ after ([\d.]+) s of 120; ([\d.]+) s later all was back", told[-1])
    assert sum(steps.values()) <= float(took) + 0.05 * (len(steps) + 1)  # each is told to a tenth
    assert float(back) > 0
    assert [tags["xportal:kind"] for tags in snapshots(user)[before:]] == ["checkpoint"]
    user.types("ssh", "demo", "--", f"until test $(wc -l < /v1/ledger) -gt {lines}; do sleep 0.1; done")


def test_interrupted_with_nobody_watching(user: User) -> None:
    """AWS fails the first CreateSnapshots of the machine; then its role is gone, and `up` goes on with the volume."""
    user.types("up", "demo", "--cpu", "--size", "2", "--on-notice", "date > /v1/hook", "--idle-minutes", "60")
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    user.types("ssh", "demo", "--", f"touch /v1/ledger; docker run -d --name train -v /v1:/v1 tiny sh -c '{LEDGER}'")
    user.types("ssh", "demo", "--", "until test -s /v1/ledger; do sleep 0.1; done")

    user.types("sandbox", "fault", "error", "--operation", "CreateSnapshot", "--count", "2")
    acknowledged = interrupt_followers(user)
    [final] = snapshots(user)
    assert (final["xportal:kind"], final["xportal:generation"]) == ("final", "1")
    assert final["xportal:save"].startswith("notice-")
    told = go_on(user, acknowledged)
    assert "AWS took the machine before this one" in told
    assert "train was not committed" in told  # in 20 seconds nothing surely fits
    user.types("ssh", "demo", "--", "until docker image inspect xportal/train > /dev/null; do sleep 0.1; done")
    assert user.types("ssh", "demo", "--", "test -s /v1/hook; ls /v1").stdout.split().count("xportal-notice.json") == 0
    assert len(snapshots(user)) == 1
    assert volumes(user) == []
    user.types("ssh", "demo", "--", "docker rm -f told attached")

    user.types("sandbox", "fault", "role-gone")
    try:
        acknowledged = interrupt(user)
        assert len(snapshots(user)) == 1
        assert len(volumes(user)) == 1
        go_on(user, acknowledged)
    finally:
        user.types("sandbox", "fault", "clear")

    rehearse(user)
    user.types("down", "demo")
    assert snapshots(user)[-1]["xportal:kind"] == "final"
    assert volumes(user) == []


@pytest.mark.all
def test_a_machine_ended_in_the_console_saves_itself(user: User) -> None:
    """Terminated by hand: its shutdown saves, with a snapshot; what it held comes back."""
    user.types("up", "demo", "--cpu")
    before = len(snapshots(user))
    user.types("ssh", "demo", "--", "echo word > /v1/unflushed")
    [machine] = user.asks("status", "demo")
    user.client().terminate_instances(InstanceIds=[machine["machine"]])
    user.types("up", "demo", "--cpu")
    assert user.types("ssh", "demo", "--", "cat", "/v1/unflushed").stdout == "word\n"
    assert len(snapshots(user)) == before + 1
    assert snapshots(user)[-1]["xportal:save"] == "shutdown"
    user.types("down", "demo")
