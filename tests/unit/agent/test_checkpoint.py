"""Checkpoints' moments of stillness, on real filesystems: what thaws what."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.agent.test_unmount import Held, held
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.files import write_json
from xportal.agent.core.state import update_state
from xportal.agent.full import checkpoint
from xportal.agent.full.snapshots import ROLLING

__all__ = ["held"]
pytestmark = pytest.mark.machine


@pytest.fixture
def paths(held: Held, tmp_path: Path) -> Paths:
    """A machine with a mounted drive."""
    paths = Paths(tmp_path / "root")
    drive = DriveConfig("demo", 1, mount=str(held.mount))
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [drive]))
    update_state(paths, phase="ready", drives=[{"name": "demo", "mount": str(held.mount), "device": held.device}])
    return paths


def is_frozen(held: Held) -> bool:
    """Thaws it, if it is."""
    return subprocess.run(["fsfreeze", "-u", held.mount], check=False, capture_output=True).returncode == 0


def test_a_checkpoint_that_is_refused_thaws_nothing(held: Held, paths: Paths) -> None:
    """A save came first, and keeps the drive still for its snapshot: the end of the refused unit leaves it so."""
    write_json(paths.requests / "rolling-1.json", {"snapshot": ROLLING})
    update_state(paths, phase="saving")
    subprocess.run(["fsfreeze", "-f", held.mount], check=True)
    assert checkpoint.run_freeze(paths, "rolling-1") is False
    checkpoint.thaw_own(paths, "rolling-1")
    assert is_frozen(held)


def test_a_checkpoint_that_was_killed_thaws_what_it_froze(held: Held, paths: Paths) -> None:
    """Its unit does, once."""
    write_json(checkpoint.frozen_path(paths, "freeze-1"), [str(held.mount)])
    subprocess.run(["fsfreeze", "-f", held.mount], check=True)
    checkpoint.thaw_own(paths, "freeze-1")
    assert not is_frozen(held)
    subprocess.run(["fsfreeze", "-f", held.mount], check=True)
    checkpoint.thaw_own(paths, "freeze-1")
    assert is_frozen(held)


def test_a_checkpoint_that_is_over_thaws_nothing_more(held: Held, paths: Paths) -> None:
    """What is frozen between its end and that of its unit is somebody else's."""
    assert checkpoint.run_freeze(paths, "freeze-1", limit=0.1)
    assert not is_frozen(held)
    subprocess.run(["fsfreeze", "-f", held.mount], check=True)
    checkpoint.thaw_own(paths, "freeze-1")
    assert is_frozen(held)


def test_the_unit_thaws_its_own() -> None:
    """systemd runs it however the unit ends."""
    argv = checkpoint.plan_unit("freeze-1")
    assert argv[0] == "systemd-run"
    assert argv[argv.index("--unit") + 1] == checkpoint.freeze_unit("freeze-1")
    assert "ExecStopPost=/opt/xportal/agent thaw-own freeze-1" in argv
    assert argv[-3:] == ["/opt/xportal/agent", "run-freeze", "freeze-1"]
