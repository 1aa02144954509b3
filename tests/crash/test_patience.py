"""What AWS refuses for the moment is waited for: a final save is never given up for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.crash.conftest import FileAgent, Lab, Quiet
from tests.crash.meanwhile import before_call
from xportal.aws import keys
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.clock import SYSTEM
from xportal.drive.observe import observe
from xportal.errors import NoCapacity, SaveIncomplete, Unreachable, XportalError
from xportal.portal.retry import until_capacity
from xportal.portal.save import save


def test_final_save_behind_pending_checkpoints(lab: Lab) -> None:
    """AWS takes five snapshots of a volume at a time: the sixth, the final save's, waits its turn."""
    machine = lab.up("behind", size_gib=1)
    lab.cloud.add_fault("snapshot-slow", seconds=10, count=5)
    for _ in range(5):
        save(lab.aws, "behind", lab.story, FileAgent(lab), wait=False)
    lab.write(machine, "after the checkpoints")
    assert lab.down("behind").volumes == ()
    assert lab.read(lab.up("behind")) == ["after the checkpoints"]
    lab.down("behind")


def test_final_save_while_aws_is_busy(lab: Lab) -> None:
    """Eight throttled calls in a row are no reason to leave a machine running."""
    lab.write(lab.up("busy", size_gib=1), "kept")
    lab.cloud.add_fault("throttle", operations=("CreateSnapshot",), count=8)
    assert lab.down("busy").volumes == ()
    assert lab.read(lab.up("busy")) == ["kept"]
    lab.down("busy")


def test_a_refusal_tells_what_is_left(lab: Lab) -> None:
    """AWS refuses for good in the middle of a `down`: the error says what goes on being billed, and how to go on."""
    machine = lab.up("refused", size_gib=1)

    def refuse(*_: object) -> None:
        raise AwsError("AWS refused DeleteVolume", code="UnauthorizedOperation", operation="DeleteVolume", hint="ask")

    with before_call(lab.aws, "DeleteVolume", refuse, times=1000), pytest.raises(SaveIncomplete) as caught:
        lab.down("refused")
    assert caught.value.billed == (f"{machine.disks[DEVICE]} 1 GiB",)
    assert caught.value.hint == "xportal down refused        finishes it; ask"
    assert lab.down("refused").volumes == ()


def test_waiting_for_capacity_holds_nothing(lab: Lab) -> None:
    """`up --wait-capacity`: between its tries there is no lock, key or volume; once there is a machine, it takes it."""
    lab.cloud.add_fault("capacity")
    left: list[object] = []

    def waits() -> Iterator[float]:
        for _ in range(2):
            left.append((observe(lab.aws, "scarce").lock, lab.volumes(), keys.list_key_pairs(lab.aws)))
            yield 0.0
        lab.cloud.clear_faults()
        yield 0.0

    machine = until_capacity(lambda: lab.up("scarce", size_gib=1), lab.story, waits(), SYSTEM)
    assert machine.state in ("pending", "running")
    assert left == [(None, [], [])] * 2
    assert sum("no capacity" in line and "trying again" in line for line in lab.story.lines) == 2
    lab.down("scarce")


def test_waiting_for_capacity_outlasts_the_network() -> None:
    """What goes well later is tried again; what AWS refuses for good is raised."""
    answers: list[XportalError | str] = [
        Unreachable("no network"),
        NoCapacity("none"),
        AwsError("busy", code="RequestLimitExceeded", operation="DescribeInstances"),
        "machine",
    ]

    def attempt() -> str:
        answer = answers.pop(0)
        if isinstance(answer, XportalError):
            raise answer
        return answer

    assert until_capacity(attempt, Quiet(), itertools.repeat(0.0), SYSTEM) == "machine"
    answers.append(AwsError("no", code="UnauthorizedOperation", operation="RunInstances"))
    with pytest.raises(AwsError):
        until_capacity(attempt, Quiet(), itertools.repeat(0.0), SYSTEM)
