"""What only real machines show of the console table (docs/console.md): a drive that is in use when it is taken away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine


def wait(condition: Callable[[], bool]) -> None:
    """Until a condition holds, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def write(user: User, word: str) -> None:
    """A line in a file of the drive, on disk when this returns."""
    user.types("ssh", "demo", "--", f"echo {word} >> /v1/words && sync /v1/words")


def words(user: User) -> list[str]:
    """What the file holds."""
    return user.types("ssh", "demo", "--", "cat", "/v1/words").stdout.split()


@pytest.mark.all
def test_volume_detached_from_a_machine_at_work(user: User) -> None:
    """AWS waits until it is unmounted: the work goes on, and `down`, which unmounts it, saves it all the same."""
    told = user.asks("up", "demo", "--cpu", "--size", "1")
    write(user, "one")
    user.client().detach_volume(VolumeId=told["drives"][0]["volume"])
    assert user.asks("up", "demo", "--cpu")["machine"]["id"] == told["machine"]["id"]
    write(user, "two")
    user.types("down", "demo")
    assert user.client().describe_volumes()["Volumes"] == []
    user.types("up", "demo", "--cpu")
    assert words(user) == ["one", "two"]


@pytest.mark.all
def test_switched_off_from_within(user: User) -> None:
    """`poweroff` on the machine, its tags deleted by hand in the meantime: the next `up` has everything."""
    ec2 = user.client()
    write(user, "before")
    machine = user.asks("status", "demo")[0]["machine"]
    user.types("ssh", "demo", "--", "sudo systemctl poweroff", check=False)
    wait(lambda: [row["state"] for row in user.asks("status", "demo")] == ["down"])
    [volume] = [v for v in ec2.describe_volumes()["Volumes"] if v["Size"] == 1]
    ec2.delete_tags(Resources=[volume["VolumeId"]], Tags=[{"Key": "xportal:drive"}])
    assert user.asks("up", "demo", "--cpu")["machine"]["id"] != machine
    assert words(user) == ["one", "two", "before"]
    user.types("down", "demo")
    assert ec2.describe_volumes()["Volumes"] == []
