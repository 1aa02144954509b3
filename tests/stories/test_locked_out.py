"""A login key that the machine does not take any more: replaced through EC2 Instance Connect, or done without."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User

pytestmark = pytest.mark.machine

KEYS = "/etc/xportal/keys/ec2-user"
OWN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a me@work"
# What people do there: their own key alone, without a newline at the end; no keys at all.
REWRITTEN = (f"printf %s '{OWN_KEY}' | sudo tee {KEYS}", f"sudo rm {KEYS}")
MINUTE_IS_OVER = "sudo rm -rf /run/instance-connect"  # where the sandbox's machines keep its keys
WORK = "sh -c 'trap \"sync; exit\" TERM; while :; do echo line >> /v1/ledger; sync /v1/ledger; sleep 0.1; done'"


def lock_out(user: User, how: str) -> None:
    """What the user does on the machine, to whom xportal's key was in the way; Instance Connect's minute is over."""
    user.types("ssh", "demo", "--", f"{how}; {MINUTE_IS_OVER}")


def lines(text: str) -> int:
    """How long a ledger is."""
    return len(text.splitlines())


@pytest.fixture(scope="module")
def up(user: User) -> User:
    """A portal with a container that writes."""
    user.types("up", "demo", "--cpu", "--size", "1")
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    user.types("ssh", "demo", "--", f"docker run -d --init --name work --restart always -v /v1:/v1 tiny {WORK}")
    return user


@pytest.mark.parametrize(
    ("words", "how"),
    [
        pytest.param(("ps", "demo"), REWRITTEN[0], marks=pytest.mark.all),
        (("ssh", "demo", "--", "true"), REWRITTEN[1]),
        pytest.param(("up", "demo"), REWRITTEN[0], marks=pytest.mark.all),
        pytest.param(("save", "demo"), REWRITTEN[1], marks=pytest.mark.all),
    ],
)
def test_every_command_gets_in_again(up: User, how: str, words: Sequence[str]) -> None:
    """With a key of its own, beside what the user put there; the next command needs no other."""
    lock_out(up, how)
    up.types(*words)
    up.types("ssh", "demo", "--", MINUTE_IS_OVER)
    up.types("sandbox", "fault", "error", "--operation", "SendSSHPublicKey")
    try:
        keys = up.types("ssh", "demo", "--", f"cat {KEYS}").stdout.splitlines()
    finally:
        up.types("sandbox", "fault", "clear")
    assert keys[:-1] == ([OWN_KEY] if OWN_KEY in how else [])


def test_the_users_own_keys_are_their_own(up: User) -> None:
    """Whatever is in ~/.ssh, xportal gets in without Instance Connect."""
    lock_out(up, f"mkdir -p ~/.ssh; printf %s '{OWN_KEY}' > ~/.ssh/authorized_keys; chmod g+w ~")
    up.types("sandbox", "fault", "error", "--operation", "SendSSHPublicKey")
    try:
        up.types("ps", "demo")
    finally:
        up.types("sandbox", "fault", "clear")


@pytest.mark.parametrize("status", [0, 7, 255])
def test_the_status_of_ssh_is_the_command_s(up: User, status: int) -> None:
    """Also the one that ssh itself fails with."""
    assert up.types("ssh", "demo", "--", f"exit {status}", check=False).returncode == status


def test_down_gets_in_again(up: User) -> None:
    """An orderly save: not one line less than were acknowledged."""
    lock_out(up, REWRITTEN[0])
    told = up.types("down", "demo").stderr
    assert "shut down and its drive saved afterwards" not in told
    up.types("up", "demo", "--cpu")


@pytest.mark.all
def test_without_instance_connect_down_saves_all_the_same(up: User) -> None:
    """AWS refuses that, too: commands say so, and what to do; `down` ends the machine, whose shutdown saves."""
    acknowledged = lines(up.types("ssh", "demo", "--", "cat /v1/ledger").stdout)
    up.types("ssh", "demo", "--", "echo unflushed > /v1/unflushed")
    lock_out(up, REWRITTEN[0])
    up.types("sandbox", "fault", "error", "--operation", "SendSSHPublicKey")
    try:
        for words in (("ps", "demo"), ("ssh", "demo", "--", "true"), ("up", "demo")):
            refused = up.types(*words, check=False)
            assert refused.returncode == 3, refused.stderr
            assert "EC2 Instance Connect gives it no new one" in refused.stderr
            assert "xportal down demo" in refused.stderr
        told = up.types("down", "demo").stderr
    finally:
        up.types("sandbox", "fault", "clear")
    assert "shut down and its drive saved afterwards" in told
    found = up.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
    tags = [{tag["Key"]: tag["Value"] for tag in s["Tags"]} for s in found]
    assert "shutdown" in [told.get("xportal:save") for told in tags]
    up.types("up", "demo", "--cpu")
    assert lines(up.types("ssh", "demo", "--", "cat /v1/ledger").stdout) >= acknowledged
    assert up.types("ssh", "demo", "--", "cat /v1/unflushed").stdout == "unflushed\n"
    up.types("down", "demo")
