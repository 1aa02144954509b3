"""Corners of saves, and of boots after them, that need no machine: Docker and disks are left out."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from xportal.agent.core import final_save, steps, units
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.events import Log
from xportal.agent.core.extensions import load
from xportal.agent.core.files import write_json
from xportal.agent.core.final_save import FinalSave, make_save
from xportal.agent.core.mounts import list_mounts
from xportal.agent.core.process import AgentError, Done
from xportal.agent.core.save_requests import Request, read_end
from xportal.agent.core.state import update_state
from xportal.agent.core.steps import Steps
from xportal.agent.full import boot_retry, checkpoint, docker, quiesce
from xportal.agent.full.commits import Commits
from xportal.agent.full.extensions import Full
from xportal.agent.full.snapshots import ROLLING


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A machine whose Docker does not run; the commands that a save gives."""
    given: list[list[str]] = []
    monkeypatch.setattr(docker, "is_running", lambda: False)
    monkeypatch.setattr(docker, "stop", lambda: None)
    monkeypatch.setattr(units, "is_pending", lambda unit: False)
    monkeypatch.setattr(units, "mask_docker", lambda: None)

    def run(argv: list[str], **_: object) -> Done:
        given.append(argv)
        return Done(0, "", "")

    for module in (final_save, steps):
        monkeypatch.setattr(module, "run", run)
    return given


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A machine with a drive that is not mounted."""
    paths = Paths(tmp_path)
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1, mount="/nowhere")]))
    paths.thaw.parent.mkdir(parents=True)
    return paths


def test_what_cannot_be_noted_makes_no_save_final(
    paths: Paths, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root disk is full: after a reboot the machine would open the drive again. It powers off all the same."""

    def write(path: Path, value: object, mode: int = 0o644) -> None:
        if path == paths.saved:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, value, mode)

    monkeypatch.setattr(final_save, "write_json", write)
    kinds: list[str] = []
    monkeypatch.setattr(Full, "take_snapshots", lambda self, config, drives, save, kind, *more: kinds.append(kind))
    assert not make_save(paths, "idle", Request(power_off=True, snapshot=True), load())
    log = [json.loads(line) for line in (paths.logs / "idle.jsonl").read_text().splitlines()]
    assert "No space left" in log[-1]["error"]
    assert kinds == ["checkpoint"]
    assert ["systemctl", "poweroff"] in commands
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["record", "commit", "docker", "sync", "unmount"])
def test_no_step_hangs_for_ever(paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A disk or a program that never answers, in whatever step: the save goes on, and says so."""
    never = Event()

    def hang(*args: object, **more: object) -> None:
        never.wait(60)

    drives = [DriveConfig("demo", 1, mount="/proc")]
    monkeypatch.setattr(final_save, "find_device", lambda device: next(m for m in list_mounts() if m.point == "/proc"))
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", drives))
    monkeypatch.setattr(steps, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(steps, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(quiesce, "COMMIT_SECONDS", 0.2)
    for module, target, nothing in (
        (quiesce, "record_running", [{"Id": "a", "State": {}, "Name": "/a"}]),
        (quiesce, "record_from_files", None),
        (steps, "run", Done(0, "", "")),
        (final_save, "unmount", (True, [])),
        (final_save, "run", Done(0, "", "")),
    ):
        monkeypatch.setattr(module, target, lambda *args, value=nothing, **more: value)
    monkeypatch.setattr(docker, "is_running", lambda: True)
    monkeypatch.setattr(docker, "stop", lambda: None)
    monkeypatch.setattr(Commits, "commit_changed", lambda *args: {})
    monkeypatch.setattr(units, "is_pending", lambda unit: False)
    monkeypatch.setattr(units, "mask_docker", lambda: None)
    hung = {"record": (quiesce, "record_running"), "commit": (Commits, "commit_changed")}
    hung |= {"docker": (docker, "stop"), "sync": (steps, "run"), "unmount": (final_save, "unmount")}
    monkeypatch.setattr(*hung[name], hang)
    began = time.monotonic()
    went_well = make_save(paths, "save-1", Request(), load())
    assert time.monotonic() - began < 15
    never.set()
    log = [json.loads(line) for line in (paths.logs / "save-1.jsonl").read_text().splitlines()]
    assert any(line.get("step") == name and "did not end within" in line["text"] for line in log)
    assert went_well == (name not in ("sync", "unmount"))


def test_an_error_that_the_kernel_tells_once_is_kept(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """What containers wrote is written before commits: the error comes then, and the last look finds none."""
    told = Steps(paths, "save-1", Request(), Log(paths.logs / "save-1.jsonl"))
    answers = [Done(1, "", "sync: error syncing '/v1': Input/output error"), Done(0, "", "")]

    def run(argv: list[str]) -> Done:
        done = answers.pop(0)
        if done.status:
            raise AgentError(done.err)
        return done

    monkeypatch.setattr(steps, "run", run)
    told.sync("Writing what containers have written", ["/v1"])
    told.sync("Writing everything to the drive", ["/v1"])
    assert told.faults == ["not everything could be written"]
    assert answers == []


def test_a_notice_shortens_a_save_that_is_at_work(paths: Paths) -> None:
    """The earliest end counts."""
    work = Steps(paths, "save-1", Request(), Log(paths.logs / "save-1.jsonl"))
    assert work.left() == float("inf")
    write_json(paths.requests / "notice-1.json", {"at": time.monotonic() + 50})
    assert 40 < work.left() <= 50
    (paths.requests / "notice-2.json.xportal-new").touch()  # it is just being written
    write_json(paths.requests / "notice-2.json", {"at": time.monotonic() + 20})
    assert 10 < work.left() <= 20


def test_what_a_boot_that_was_cut_has_mounted_is_unmounted_too(
    paths: Paths, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent was killed before it noted the drive: the mount itself tells the device."""
    unmounted: list[str] = []

    def unmount(device: str, *_: object) -> tuple[bool, list[str]]:
        unmounted.append(device)
        return True, []

    monkeypatch.setattr(final_save, "unmount", unmount)
    proc = next(mount for mount in list_mounts() if mount.point == "/proc")  # something that is mounted
    drives = [DriveConfig("demo", 1, mount="/nowhere"), DriveConfig("data", 1, mount="/proc")]
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", drives))
    monkeypatch.setattr(final_save, "find_device", lambda device: proc if device == "proc" else None)
    FinalSave(Steps(paths, "save-1", Request(), Log(paths.logs / "save-1.jsonl")), load()).run()
    assert unmounted == [proc.source]
    assert ["sync", "-f", "/proc"] in commands
    paths.saved.unlink()
    update_state(paths, drives=[{"name": "demo", "mount": "/v9", "device": "/dev/v9"}])
    FinalSave(Steps(paths, "save-2", Request(), Log(paths.logs / "save-2.jsonl")), load()).run()
    assert unmounted[1:] == [proc.source, "/dev/v9"]


def test_a_checkpoint_of_the_machine_s_own_holds_nothing_up(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS does not answer, the drive is frozen, and a final save wants to begin."""
    monkeypatch.setattr(checkpoint, "take_snapshots", lambda *args: time.sleep(60))
    is_over = checkpoint.take_checkpoint(paths, "rolling-1", ROLLING, Log(paths.logs / "rolling-1.jsonl"))
    assert not is_over()
    checkpoint.thaw(paths)
    assert is_over()
    paths.thaw.unlink()
    monkeypatch.setattr(checkpoint, "take_snapshots", lambda *args: None)
    is_over = checkpoint.take_checkpoint(paths, "rolling-2", ROLLING, Log(paths.logs / "rolling-2.jsonl"))
    deadline = time.monotonic() + 10
    while not is_over():
        assert time.monotonic() < deadline


def test_a_boot_is_not_gone_on_with_unless_all_drives_are_there(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that failed half way has taken one: a container would write to the root disk in its place."""
    monkeypatch.setattr(boot_retry, "make_room", lambda paths: False)
    monkeypatch.setattr(boot_retry, "run", lambda argv, **more: None)
    drives = [DriveConfig("demo", 1, mount="/proc"), DriveConfig("data", 1, mount="/nowhere")]
    for config, phase in ((drives, "failed"), (drives[:1], "open")):
        paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", config))
        update_state(paths, phase="failed", drives=[{"mount": "/proc"}])
        log = Log(paths.logs / "boot.jsonl")
        log.end(False, "Docker did not start", {})
        assert boot_retry.try_again(paths) == phase


@pytest.mark.parametrize("ended", [False, True], ids=["vanished", "ended"])
def test_a_save_whose_client_vanishes_goes_on_alone(
    paths: Paths, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """Unless somebody ends the machine meanwhile, it takes the snapshot and powers off."""
    kinds: list[str] = []
    monkeypatch.setattr(Full, "take_snapshots", lambda self, config, drives, save, kind, *more: kinds.append(kind))
    monkeypatch.setattr(final_save, "told_to_end", lambda seconds: ended)
    assert make_save(paths, "save-1", Request(attended=True), load())
    assert kinds == ([] if ended else ["final"])
    assert (["systemctl", "poweroff"] in commands) == (not ended)
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
