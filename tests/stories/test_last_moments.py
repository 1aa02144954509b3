"""AWS takes the machine back, with a short notice, at the worst moments and in the worst company. Nobody watches.

Then machines cut in the middle: a sample of what `python -m tests.stories.machine_cuts` does at every line of a phase.
One portal lives through all of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stories.conftest import User
from tests.stories.long_lived import Portal, begun_portal, is_done, sentence
from tests.stories.machine_cuts import Kind, Lives, Phase, Trial
from tests.stories.machine_probe import MachineProbe, wait_for

pytestmark = pytest.mark.machine

SECONDS = 25.0  # of notice
DEAF = 'trap "" TERM; while :; do sleep 1; done'
CROWD = "i=0; while [ $i -lt 500 ]; do sleep 9999 & i=$((i+1)); done; wait"

# The quick ones: each is a life or two.
SAMPLE = [
    Trial(Phase.RUN, 2, Kind.KILL),
    Trial(Phase.RUN, 1, Kind.NETWORK),
    Trial(Phase.OPEN, 3, Kind.KILL),
    Trial(Phase.NOTICE, 3, Kind.POWER),
    Trial(Phase.RESTORE, 2, Kind.KILL),
    Trial(Phase.NOTICE, 11, Kind.KILL),
    Trial(Phase.NOTICE, 9, Kind.NETWORK),
    Trial(Phase.RUN, 1, Kind.POWER),
    Trial(Phase.FINAL, 8, Kind.POWER),
    Trial(Phase.OPEN, 4, Kind.NETWORK),
    Trial(Phase.NOTICE, 11, Kind.POWER),
    Trial(Phase.RUN, 3, Kind.POWER),
]


@pytest.fixture(scope="module")
def portal(user: User) -> Iterator[Portal]:
    """A portal whose container writes records; in the end it goes down, and nothing is left."""
    with begun_portal(user) as portal:
        yield portal
        assert not portal.finish()


def on(portal: Portal, script: str) -> str:
    """What a script prints on the machine."""
    return portal.user.types("ssh", "demo", "--", script, timeout=60).stdout.strip()


def saves(machine: MachineProbe) -> list[dict[str, Any]]:
    """What the saves that nobody asked for have said."""
    return [line for name in sorted(machine.logs()) if name.startswith("notice-") for line in machine.log(name)]


def snapshots(portal: Portal) -> list[dict[str, str]]:
    """The tags of all snapshots, oldest first, and the state as one more."""
    found = portal.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    found.sort(key=lambda snapshot: snapshot["StartTime"])
    return [{"State": s["State"], **{tag["Key"]: tag["Value"] for tag in s.get("Tags", [])}} for s in found]


@contextmanager
def taken(portal: Portal, machine: MachineProbe, *, snapshot: bool = True) -> Iterator[list[dict[str, Any]]]:
    """A notice; what happens meanwhile; the machine saves in time, and then its power goes. Yields the save's log."""
    before = len(snapshots(portal))
    log: list[dict[str, Any]] = []
    portal.ends.interrupt(machine.instance_id, notice_seconds=SECONDS)
    began = time.monotonic()
    yield log
    wait_for("the machine to save", lambda: is_done(saves(machine)), SECONDS - (time.monotonic() - began))
    log += saves(machine)
    assert log[-1]["ok"], told(log)
    assert (len(log[-1]["result"].get("snapshots", {})) == 1) is snapshot, told(log)
    assert len(snapshots(portal)) == before + snapshot
    assert machine.has_power
    machine.cut_power()
    portal.is_gone()


def told(log: list[dict[str, Any]]) -> str:
    """A log's sentences."""
    return "\n".join(map(sentence, log))


def goes_on(portal: Portal) -> str:
    """The next `up`: nothing that was acknowledged is lost, the container writes on. What `up` said."""
    machine = portal.come_up()
    assert not portal.ledger.losses(machine)
    assert not portal.leaks()
    return portal.typed[-1]


def test_bad_company(portal: Portal) -> None:
    """A container that ignores SIGTERM, one with 500 processes, ten more, and a shell sitting in /v1."""
    machine = portal.machine
    assert machine
    start = "docker run -d --init -v /v1:/v1"
    script = f"""{start} --name deaf tiny sh -c '{DEAF}'; {start} --name crowd tiny sh -c '{CROWD}'
        for n in 0 1 2 3 4 5 6 7 8 9; do {start} --name worker$n tiny sleep 9999; done
        until test $(pgrep -cx sleep) -gt 510; do sleep 0.1; done"""
    on(portal, script)
    with portal.user.starts("ssh", "demo", "--", "cd /v1; exec sleep 7777") as shell:
        on(portal, "until pgrep -f 'sleep 7777' -u ec2-user; do sleep 0.05; done")
        with taken(portal, machine) as log:
            pass
        shell.communicate(timeout=30)
    assert "Asking 13 containers to end within 2 s" in told(log)
    assert "sleep 7777 (pid" in told(log)
    said = goes_on(portal)
    assert "AWS took the machine before this one" in said
    names = ["deaf", "crowd", *(f"worker{n}" for n in range(10)), "train"]
    assert [name for name in names if f"{name} runs again" not in said] == []
    assert sorted(on(portal, "docker ps --format '{{.Names}}'").split()) == sorted(names)
    on(portal, "docker rm -f $(docker ps -aq --filter name=deaf --filter name=crowd --filter name=worker)")


def test_a_full_drive(portal: Portal) -> None:
    """What has to be written down is, on space kept for that; what ran comes back, and the drive can be emptied."""
    machine = portal.machine
    assert machine
    portal.type("sandbox", "fault", "disk-full", "demo")
    with taken(portal, machine) as log:
        pass
    assert "No space left" not in told(log)
    said = goes_on_full(portal)
    assert "train runs again" in said


def goes_on_full(portal: Portal) -> str:
    """As `goes_on`, the container aside: it cannot write."""
    portal.type("up", "demo", "--cpu")
    said = portal.typed[-1]
    on(portal, "sudo rm /v1/.xportal-sandbox-full; docker restart train")
    assert not portal.ledger.losses(portal.is_up())
    return said


@pytest.mark.all
def test_a_gpu_that_is_not_there_any_more(portal: Portal) -> None:
    """A container with a GPU and the restart policy `always` goes on without, and keeps its policy."""
    portal.type("down", "demo")
    portal.is_gone()
    portal.type("up", "demo", "--gpu")
    machine = portal.is_up()
    on(portal, "docker run -d --init --gpus all --restart always --name gpu tiny sleep 9999")
    with taken(portal, machine):
        pass
    said = goes_on(portal)
    assert "gpu runs again" in said
    shown = on(portal, "docker inspect -f '{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}' gpu")
    assert shown == "true always"
    status = portal.user.types("status", "demo").stdout
    assert "gpu: running (runs without a GPU: this machine has none)" in status
    on(portal, "docker rm -f gpu; sync")  # the next test cuts the power


@pytest.mark.all
def test_before_the_machine_is_ready(portal: Portal) -> None:
    """The notice comes as the agent opens the drive, with `up` at work: it says what became of the machine."""
    assert portal.machine
    portal.machine.cut_power()
    portal.is_gone()
    with portal.typing("up", "demo", "--cpu") as up:
        machine = portal.ends.wait_for_machine(lambda: up.poll() is not None)
        wait_for("the agent", lambda: machine.log("boot"), 30)
        portal.ends.interrupt(machine.instance_id, notice_seconds=SECONDS)
        wait_for("the machine to save", lambda: is_done(saves(machine)), SECONDS)
        assert saves(machine)[-1]["ok"]
    machine.cut_power()
    portal.is_gone()
    assert "drive" in portal.typed[-1]
    goes_on(portal)


@pytest.mark.all
def test_during_a_checkpoint(portal: Portal) -> None:
    """The drive is frozen, and AWS takes its time: the save does not wait for that."""
    machine = portal.machine
    assert machine
    portal.type("sandbox", "fault", "slow", "--operation", "CreateSnapshot", "--seconds", "5", "--count", "1")
    with portal.typing("save", "demo", "--no-wait"):
        frozen = lambda: [n for n in machine.logs() if n.startswith("freeze-") and "Frozen" in told(machine.log(n))]  # noqa: E731
        wait_for("the drive to be frozen", frozen, 30)
        portal.ends.interrupt(machine.instance_id, notice_seconds=SECONDS)
        wait_for("the machine to save", lambda: is_done(saves(machine)), SECONDS)
    log = saves(machine)
    assert log[-1]["ok"], told(log)
    machine.cut_power()
    portal.is_gone()
    assert snapshots(portal)[-1]["xportal:kind"] == "final"
    goes_on(portal)


def test_during_a_build(portal: Portal, tmp_path: Path) -> None:
    """The build is lost, what it had is no container that comes back."""
    machine = portal.machine
    assert machine
    (tmp_path / "Dockerfile").write_text("FROM tiny\nRUN echo 1 > /one\nRUN sleep 7776\n")
    with portal.typing("build", "demo", str(tmp_path)):
        wait_for("the build", lambda: any("sleep 7776" in " ".join(words) for _, words in machine.processes()), 30)
        with taken(portal, machine):
            pass
    assert "-> 0" not in portal.typed[-1].splitlines()[0]
    goes_on(portal)
    assert on(portal, "docker ps -a --format '{{.Names}}'") == "train"


@pytest.mark.all
def test_during_a_late_commit(portal: Portal) -> None:
    """`up` commits in the background what the last notice left; Docker leaves half an image, and the next `up` none."""
    machine = portal.machine
    assert machine
    fill = "dd if=/dev/zero of=/big bs=1M count=800 status=none"
    on(portal, f"docker run -d --init --name big tiny sleep 9999; docker exec big {fill}; sync")
    with taken(portal, machine) as log:
        pass
    assert "big is not committed now" in told(log)
    assert "big was not committed" in goes_on(portal)
    machine = portal.is_up()
    on(portal, "until docker inspect -f '{{.State.Paused}}' big | grep true; do :; done")
    with taken(portal, machine) as log:
        pass
    assert "leaving off" in told(log)
    assert "big runs again" in goes_on(portal)
    # Nothing can be begun in a container that is held still.
    read = "until docker exec big cat /big > /tmp/big; do sleep 0.2; done; wc -c < /tmp/big"
    assert on(portal, read) == str(800 << 20)
    # What Docker had made of the image took the space that it needs.
    on(portal, "until docker image inspect xportal/big; do sleep 0.2; done")
    assert "is gone" in told(portal.is_up().log("tidying"))
    on(portal, "docker rm -f big; docker rmi xportal/big")


@pytest.mark.all
def test_during_a_down(portal: Portal) -> None:
    """One save, whoever asked for it, and one final snapshot."""
    machine = portal.machine
    assert machine
    before = len(snapshots(portal))
    on(portal, f"docker run -d --name deaf tiny sh -c '{DEAF}'")
    with portal.typing("down", "demo"):
        asked = lambda: [n for n in machine.logs() if n.startswith("save-") and "Asking" in told(machine.log(n))]  # noqa: E731
        wait_for("the save", asked, 30)
        portal.ends.interrupt(machine.instance_id, notice_seconds=60)
    assert portal.typed[-1].splitlines()[0].endswith("-> 0")
    portal.is_gone()
    assert [s["xportal:kind"] for s in snapshots(portal)[before:]] == ["final"]
    goes_on(portal)
    on(portal, "docker rm -f deaf")


@pytest.mark.all
def test_twice(portal: Portal) -> None:
    """A second notice, of another time, while the first one's save waits for a container, finds it done."""
    machine = portal.machine
    assert machine
    before = len(snapshots(portal))
    on(portal, f"docker run -d --init --name deaf tiny sh -c '{DEAF}'")
    portal.ends.interrupt(machine.instance_id, notice_seconds=70)
    wait_for("the save", lambda: saves(machine), 20)
    portal.ends.interrupt(machine.instance_id, notice_seconds=60)

    def ended() -> list[bool]:
        logs = [machine.log(name) for name in machine.logs() if name.startswith("notice-")]
        return [log[-1]["result"]["already"] for log in logs if is_done(log)]

    wait_for("both saves", lambda: len(ended()) == 2, SECONDS)
    assert sorted(ended()) == [False, True]
    machine.cut_power()
    portal.is_gone()
    assert len(snapshots(portal)) == before + 1
    goes_on(portal)
    on(portal, "docker rm -f deaf")


@pytest.fixture(scope="module")
def lives(portal: Portal) -> Lives:
    """The same portal, which goes on living."""
    return Lives(portal)


@pytest.mark.parametrize("trial", SAMPLE, ids=str)
def test_cut(lives: Lives, trial: Trial) -> None:
    """What was acknowledged is there after the next `up`, in order, and the container writes on."""
    outcome = lives.run(trial)
    assert outcome.at, f"the line never came: {outcome}"
    assert outcome.is_fine, str(outcome)


def test_power_cuts_lose_what_was_not_flushed(lives: Lives) -> None:
    """Without that they would prove nothing."""
    assert lives.portal.ledger.seen_lost
