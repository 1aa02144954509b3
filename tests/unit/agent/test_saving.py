"""Corners of saves, and of boots after them, that need no machine: Docker and disks are left out."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.unit.agent.conftest import Programs
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.events import Log
from xportal.agent.core.extensions import load
from xportal.agent.core.files import write_json
from xportal.agent.core.final_save import make_save
from xportal.agent.core.imds import Imds
from xportal.agent.core.save_requests import Request, read_end
from xportal.agent.core.state import update_state
from xportal.agent.core.steps import Limits, Steps
from xportal.agent.core.units import HOME, READY, plan_units
from xportal.agent.full.boot_retry import try_again
from xportal.agent.full.checkpoint import take_checkpoint, thaw
from xportal.agent.full.extensions import Full
from xportal.agent.full.follow_log import is_written
from xportal.agent.full.snapshots import ROLLING


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A machine with a drive that is not mounted."""
    paths = Paths(tmp_path)
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1, mount="/nowhere")]))
    paths.thaw.parent.mkdir(parents=True)
    return paths


@pytest.fixture
def kinds() -> list[str]:
    """Of the snapshots that were asked for."""
    return []


@pytest.fixture
def full(kinds: list[str]) -> Full:
    """The full agent, with an AWS that takes every snapshot."""

    def take(config: AgentConfig, drives: object, save: str, kind: str, *_: object) -> dict[str, str]:
        kinds.append(kind)
        return {}

    return Full(take)


def test_what_cannot_be_noted_makes_no_save_final(
    paths: Paths, programs: Programs, full: Full, kinds: list[str]
) -> None:
    """The root disk is damaged: after a reboot the machine would open the drive again. It powers off all the same."""
    paths.saved.with_name("saved.json.xportal-new").mkdir(parents=True)  # in the way
    assert not make_save(Steps(paths, "idle", Request(power_off=True, snapshot=True)), full)
    log = [json.loads(line) for line in (paths.logs / "idle.jsonl").read_text().splitlines()]
    assert "cannot note that it has made its final save" in log[-1]["error"]
    assert kinds == ["checkpoint"]
    assert "systemctl poweroff" in programs.calls()


@pytest.mark.parametrize("stage", ["cloud-init.service", "cloud-init-network.service"])
def test_a_boot_is_at_work_while_cloud_init_is(programs: Programs, stage: str) -> None:
    """Whatever its release calls the stage: who follows the boot waits, and our units come after it."""
    programs.put(
        "systemctl", f'case "$*" in *" {stage}") echo ActiveState=activating;; *) echo ActiveState=inactive;; esac'
    )
    assert is_written("boot")
    assert not is_written("save-1")
    units = plan_units(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1)]))
    for unit in (HOME, READY):
        [after] = [line for line in units[unit].splitlines() if line.startswith("After=")]
        assert stage in after.removeprefix("After=").split()


HANGS = {"record": "docker ps", "commit": "docker diff", "docker": "systemctl stop", "sync": "sync"}


@pytest.mark.parametrize("step", HANGS)
def test_no_step_hangs_for_ever(paths: Paths, programs: Programs, tmp_path: Path, step: str) -> None:
    """A disk or a program that never answers, in whatever step: the save goes on, and says so."""
    drive = DriveConfig("demo", 1, mount=str(tmp_path / "v1"))
    drive.directory.mkdir(parents=True)
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [drive]))
    info = {"Id": "a", "Name": "/a", "State": {"Running": False, "StartedAt": "2026-01-01"}, "HostConfig": {}}
    programs.put("systemctl", "")  # Docker runs
    programs.put("docker", f"case $1 in ps) echo a;; container) echo '{json.dumps([info])}';; esac")
    programs.hang(HANGS[step])
    began = time.monotonic()
    went_well = make_save(Steps(paths, "save-1", Request(), Limits(least=0.1, step=0.5, commit=0.5)), load())
    assert time.monotonic() - began < 15
    log = [json.loads(line) for line in (paths.logs / "save-1.jsonl").read_text().splitlines()]
    assert any(line.get("step") == step and "did not end within" in line["text"] for line in log)
    assert went_well == (step != "sync")


def test_an_error_that_the_kernel_tells_once_is_kept(paths: Paths, programs: Programs, tmp_path: Path) -> None:
    """What containers wrote is written before commits: the error comes then, and the last look finds none."""
    told = Steps(paths, "save-1", Request())
    error = tmp_path / "error"
    error.write_text("sync: error syncing '/v1': Input/output error")
    programs.put("sync", f"[ ! -e {error} ] || {{ cat {error} >&2; rm {error}; exit 1; }}")
    told.sync("Writing what containers have written", ["/v1"])
    told.sync("Writing everything to the drive", ["/v1"])
    assert told.faults == ["not everything could be written"]
    assert programs.calls() == ["sync -f /v1"] * 2


def test_a_notice_shortens_a_save_that_is_at_work(paths: Paths) -> None:
    """The earliest end counts."""
    work = Steps(paths, "save-1", Request())
    assert work.left() == float("inf")
    write_json(paths.requests / "notice-1.json", {"at": time.monotonic() + 50})
    assert 40 < work.left() <= 50
    (paths.requests / "notice-2.json.xportal-new").touch()  # it is just being written
    write_json(paths.requests / "notice-2.json", {"at": time.monotonic() + 20})
    assert 10 < work.left() <= 20


def test_a_checkpoint_of_the_machine_s_own_holds_nothing_up(paths: Paths) -> None:
    """AWS does not answer, the drive is frozen, and a final save wants to begin."""
    update_state(paths, drives=[{"name": "demo", "volume_id": "vol-1", "generation": 1}])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = Imds("127.0.0.1", silent.getsockname()[1])
        is_over = take_checkpoint(paths, "rolling-1", ROLLING, Log(paths.logs / "rolling-1.jsonl"), nobody)
        assert not is_over()
        thaw(paths)
        assert is_over()
    paths.thaw.unlink()
    is_over = take_checkpoint(paths, "rolling-2", ROLLING, Log(paths.logs / "rolling-2.jsonl"), nobody)
    deadline = time.monotonic() + 10
    while not is_over():
        assert time.monotonic() < deadline


def test_a_boot_is_not_gone_on_with_unless_all_drives_are_there(paths: Paths, programs: Programs) -> None:
    """A save that failed half way has taken one: a container would write to the root disk in its place."""
    store = paths.root / "dev/nvme1n1"
    paths.by_id.mkdir(parents=True)
    store.touch()
    for link in (paths.by_id / "nvme-Amazon_EC2_NVMe_Instance_Storage_1", paths.root / "dev/sdf"):
        link.symlink_to(store)  # so the drive's volume is nowhere, and no full one can be made room on
    drives = [DriveConfig("demo", 1, mount="/proc"), DriveConfig("data", 1, mount="/nowhere")]
    for config, phase in ((drives, "failed"), (drives[:1], "open")):
        paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", config))
        update_state(paths, phase="failed", drives=[{"mount": "/proc"}])
        log = Log(paths.logs / "boot.jsonl")
        log.end(False, "Docker did not start", {})
        assert try_again(paths) == phase
    assert programs.calls() == ["systemctl reset-failed"]


@pytest.mark.parametrize("ended", [False, True], ids=["vanished", "ended"])
def test_a_save_whose_client_vanishes_goes_on_alone(
    paths: Paths, programs: Programs, full: Full, kinds: list[str], ended: bool
) -> None:
    """Unless somebody ends the machine meanwhile, it takes the snapshot and powers off."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        if ended:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # it waits until somebody takes it
        attended = 60.0 if ended else 0.0
        assert make_save(Steps(paths, "save-1", Request(attended=True), Limits(attended=attended)), full)
        assert not signal.sigtimedwait([signal.SIGTERM], 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert kinds == ([] if ended else ["final"])
    assert ("systemctl poweroff" in programs.calls()) == (not ended)
    assert read_end(paths.logs / "save-1.jsonl")["ok"]


def test_a_machine_that_is_ended_is_not_waited_for() -> None:
    """SIGTERM ends the wait at once, though the save itself is deaf to it."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        began = time.monotonic()
        while process.poll() is None:  # the first may come before it waits
            process.terminate()
            time.sleep(0.05)
            assert time.monotonic() - began < 20
        assert process.returncode == 7


WAITS = """
import signal, sys
from xportal.agent.core.process import told_to_end
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("waits", flush=True)
sys.exit(7 if told_to_end(60) else 1)
"""
