"""`watch --install`: the unit, and what systemd is told. `systemctl` is a FAKE: tests have no session of systemd."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from xportal.errors import NotInstalled, UsageError
from xportal.watch.service import install

NAME = "xportal-watch-demo:my_work:us-east-1.service"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and a `systemctl` that writes down what it is told."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/told\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_unit_runs_the_same_command(home: Path) -> None:
    """With this Python, the words as they were typed, and where AWS's files are; started now and with each login."""
    words = ["watch", "demo", "--max-price", "0.5", "--image-id", 'a "b" $c %d']
    assert install("demo", "my work", "us-east-1", words, {"AWS_PROFILE": "my $work", "SECRET": "s"}) == NAME
    unit = (home / ".config/systemd/user" / NAME).read_text()
    [line] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    command = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%"), posix=True)
    assert command == [sys.executable, "-m", "xportal", *words]
    assert 'Environment="AWS_PROFILE=my $work"' in unit
    assert "SECRET" not in unit
    assert (home / "told").read_text().splitlines() == [
        "--user show-environment",
        "--user daemon-reload",
        f"--user enable {NAME}",
        f"--user restart {NAME}",
    ]


def test_credentials_that_a_service_would_not_have(home: Path) -> None:
    """Keys in the environment are refused, and written nowhere."""
    with pytest.raises(UsageError, match="a service would not have them"):
        install("demo", "default", "us-east-1", ["watch", "demo"], {"AWS_ACCESS_KEY_ID": "AKIA"})
    assert not (home / ".config").exists()


def test_no_systemd(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the hint is a line that does it."""
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(NotInstalled) as refused:
        install("demo", "default", "us-east-1", ["watch", "demo"], {})
    assert "nohup" in refused.value.hint
    assert "-m xportal watch demo" in refused.value.hint


@pytest.mark.parametrize(("status", "disabled"), [("0", True), ("130", False), ("TERM", False), ("4", False)])
def test_a_watch_that_has_ended_well_is_disabled(home: Path, status: str, disabled: bool) -> None:
    """It is not when it is stopped, as at a logout, or has failed."""
    install("demo", "my work", "us-east-1", ["watch", "demo"], {})
    unit = (home / ".config/systemd/user" / NAME).read_text()
    [line] = [line for line in unit.splitlines() if line.startswith("ExecStopPost=")]
    (home / "told").unlink()
    environment = {"PATH": f"{home}/bin:/usr/bin:/bin", "EXIT_STATUS": status}
    command = shlex.split(line.removeprefix("ExecStopPost=").replace("$$", "$"))
    subprocess.run(command, env=environment, check=True)
    told = (home / "told").read_text() if (home / "told").exists() else ""
    assert told == (f"--user disable {NAME}\n" if disabled else "")
