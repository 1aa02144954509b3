"""`up` is killed, whenever; `up` from another computer, which has nothing of the first one's, goes on from there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest

from tests.stories.conftest import User
from tests.stories.recorder import Recorder, recording
from xportal.aws import tags

pytestmark = pytest.mark.machine

UP = ("up", "demo", "--cpu", "--size", "2")


class Moment(NamedTuple):
    """Around an AWS call of the command, or once its story said something."""

    when: str  # before, after, said
    what: str
    machine: bool  # whether AWS has granted a machine by then

    def __str__(self) -> str:
        return f"{self.when} {self.what}"


MOMENTS = [
    Moment("before", "ImportKeyPair", False),
    Moment("after", "ImportKeyPair", False),
    Moment("after", "CreateSecurityGroup", False),
    Moment("before", "RunInstances", False),
    Moment("after", "RunInstances", True),
    Moment("before", "CreateTags", True),
    Moment("after", "CreateTags", True),
    Moment("after", "DeleteTags", True),
    Moment("said", "waiting for ssh", True),
    Moment("said", "Mounting", True),
]
IN_CI = {"before RunInstances", "after RunInstances", "said waiting for ssh"}


@pytest.fixture(scope="module")
def recorder(user: User) -> Iterator[Recorder]:
    """Between the first computer and AWS."""
    with recording(user.asks("sandbox", "status")["endpoint_url"]) as started:
        yield started


@pytest.fixture(scope="module")
def laptop(user: User, desk: User, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> User:
    """The computer on which `up` is killed; it reaches AWS through the recorder."""
    home = tmp_path_factory.mktemp("laptop")
    (home / ".aws").mkdir()
    config = f"[profile work]\nregion = us-east-1\nendpoint_url = {recorder.url}\n"
    (home / ".aws" / "config").write_text(config)
    user.write_keys(home / ".aws" / "credentials", "work")
    return User(home, "work")


@pytest.mark.parametrize(
    "moment",
    [pytest.param(m, id=str(m), marks=() if str(m) in IN_CI else pytest.mark.all) for m in MOMENTS],
)
def test_killed_up(user: User, laptop: User, desk: User, recorder: Recorder, moment: Moment) -> None:
    """The same machine is adopted, or there was none and the lock is taken over; its host key is the pinned one."""
    ec2 = user.client()
    kill_up(laptop, recorder, moment)
    before = live_machines(ec2)
    assert len(before) == moment.machine
    if not moment.machine:
        is_refused_for_ten_minutes(ec2, desk, held=moment != MOMENTS[0])
    told = desk.asks(*UP)
    [machine] = live_machines(ec2)
    assert machine["InstanceId"] == told["machine"]["id"]
    assert not before or before[0]["InstanceId"] == machine["InstanceId"]
    assert scanned_key(machine) == tag(machine, tags.HOST_KEY)
    assert desk.types("ssh", "demo", "--", "findmnt -no FSTYPE /v1").stdout.strip() == "ext4"
    desk.types("down", "demo", "--discard", "--yes")
    nothing_is_left(ec2)


def test_wrong_host_key(user: User, desk: User) -> None:
    """A tag that tells another key than the machine got at its launch: it is told nothing, and not ended either."""
    ec2 = user.client()
    desk.types(*UP)
    [machine] = live_machines(ec2)
    right = tag(machine, tags.HOST_KEY)
    wrong = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a"
    set_tag(ec2, machine["InstanceId"], tags.HOST_KEY, wrong)
    for words in (UP, ("ps", "demo"), ("down", "demo"), ("ssh", "demo", "--", "true")):
        done = desk.types(*words, check=False)
        assert done.returncode == 3, done.stderr
        assert "another host key" in done.stderr
        assert "hint:" in done.stderr
    done = user.types("ps", "demo", check=False)  # a computer that knows the tag alone, and sees who answers
    assert (done.returncode, "another host key" in done.stderr) == (3, True), done.stderr
    set_tag(ec2, machine["InstanceId"], tags.HOST_KEY, right)
    desk.types("down", "demo", "--discard", "--yes")
    nothing_is_left(ec2)


@pytest.mark.parametrize("time", [1, pytest.param(2, marks=pytest.mark.all), pytest.param(3, marks=pytest.mark.all)])
def test_two_at_once(user: User, desk: User, time: int) -> None:
    """Two computers, one portal, one moment: one machine; the other is refused, naming the holder, or finds it up."""
    ec2 = user.client()
    both = [somebody.starts(*UP) for somebody in (user, desk)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in both]
    statuses = sorted(status for _, status in ended)
    assert statuses in ([0, 3], [0, 0]), ended
    for (_, err), status in ended:
        assert status == 0 or ("is being brought up by" in err and "@" in err), err
    [machine] = live_machines(ec2)
    assert user.asks("status", "demo")[0]["machine"] == machine["InstanceId"]
    desk.types("down", "demo", "--discard", "--yes")
    nothing_is_left(ec2)


def kill_up(laptop: User, recorder: Recorder, moment: Moment) -> None:
    """SIGKILL `up` at that moment: no undo, no handler runs."""
    up: subprocess.Popen[str]

    def watch(when: str, operation: str) -> bool:
        if (when, operation) == moment[:2]:
            up.kill()
        return (when, operation) != moment[:2]

    recorder.watch = watch
    up = laptop.starts(*UP)
    with up:
        assert up.stderr
        for line in up.stderr:
            if moment.when == "said" and moment.what in line:
                up.kill()
    assert up.returncode == -signal.SIGKILL
    recorder.watch = lambda _when, _operation: True


def is_refused_for_ten_minutes(ec2: Any, desk: User, *, held: bool) -> None:
    """A lock without a machine is somebody's who may be launching: by AWS's clock for ten minutes."""
    locks = ec2.describe_key_pairs()["KeyPairs"]
    assert len(locks) == held
    for lock in locks:
        refused = desk.types(*UP, check=False)
        assert refused.returncode == 3, refused.stderr
        assert tag(lock, tags.HOLDER) in refused.stderr
        old = datetime.now(timezone.utc) - timedelta(minutes=11)  # time travel: the sandbox's clock is this computer's
        set_tag(ec2, lock["KeyPairId"], tags.HEARTBEAT, old.isoformat())


def scanned_key(machine: dict[str, Any]) -> str:
    """The machine's ed25519 host key, as it shows it to anybody."""
    answer = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", machine["PublicIpAddress"]], capture_output=True, text=True, check=True
    )
    [line] = [line for line in answer.stdout.splitlines() if not line.startswith("#")]
    return line.split(" ", 1)[1]


def live_machines(ec2: Any) -> list[dict[str, Any]]:
    """The machines that are not terminated, nor about to be."""
    wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    return [i for r in ec2.describe_instances(Filters=wanted)["Reservations"] for i in r["Instances"]]


def nothing_is_left(ec2: Any) -> None:
    """Nothing billed, no lock, no security group of ours."""
    assert live_machines(ec2) == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert [g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]


def tag(item: dict[str, Any], key: str) -> str:
    """The value of a tag."""
    return next(str(t["Value"]) for t in item["Tags"] if t["Key"] == key)


def set_tag(ec2: Any, resource: str, key: str, value: str) -> None:
    """Edit a tag by hand."""
    ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": value}])
