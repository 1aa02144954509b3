"""The agent under a real Python 3.9, with nothing but the standard library."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.agent import debian11_root
from xportal.agent.core.config import AgentConfig, DriveConfig
from xportal.machine import userdata

pytestmark = pytest.mark.machine

REPOSITORY = Path(userdata.__file__).parents[2]
PURE = [
    "test_events.py",
    "test_gpu.py",
    "test_containers.py",
    "test_commits.py",
    "test_docker.py",
    "test_mounts.py",
    "test_drives.py",
    "test_deadline.py",
    "test_idle.py",
]
CONFIG = AgentConfig("demo", "l-1", "us-east-1", "http://127.0.0.1:5577", [DriveConfig("demo", 1, blank=True)])


@pytest.fixture(scope="module")
def root() -> Path:
    """Debian 11."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap, to make a Debian 11 with its Python 3.9")
    return debian11_root.ensure_root()


def test_it_is_python_39(root: Path, tmp_path: Path) -> None:
    """What the other tests here run under."""
    assert debian11_root.run(root, tmp_path, ["python3", "--version"]).stdout.startswith("Python 3.9.")


def test_the_agent_s_tests_pass_there(root: Path, tmp_path: Path) -> None:
    """The package alone, no other part of xportal beside it; warnings are errors."""
    shutil.copytree(REPOSITORY / "xportal/agent", tmp_path / "xportal/agent")
    (tmp_path / "xportal/__init__.py").touch()
    for name in PURE:
        shutil.copy(REPOSITORY / "tests/unit/agent" / name, tmp_path)
    argv = ["sh", "-c", "cd /mnt && exec python3 -W error -m pytest -q -p no:cacheprovider --basetemp=/tmp/t ."]
    done = debian11_root.run(root, tmp_path, argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_user_data_s_command_installs_an_agent_that_runs(root: Path, tmp_path: Path) -> None:
    """The very command that cloud-init runs: the agent says in words why it cannot open a drive here."""
    text = gzip.decompress(userdata.build(CONFIG, userdata.new_host_key())).decode()
    (tmp_path / "argv").write_text("\0".join(yaml.safe_load(text)["bootcmd"][0]))
    (tmp_path / "whole").write_bytes(userdata.full_agent())
    deliver = shlex.join(userdata.deliver_argv(userdata.full_agent())[1:]) + " < /mnt/whole"
    script = (
        f"xargs -0 -a /mnt/argv env; echo status $?; /opt/xportal/agent status; {deliver}; {deliver};"
        "/opt/xportal/agent status; /opt/xportal/agent follow boot;"
        "python3 /opt/xportal/agent-whole status; ls -l /etc/xportal/agent.json;"
        "cat /etc/systemd/system/docker.service.d/*; ls /opt/xportal"
    )
    done = debian11_root.run(root, tmp_path, ["sh", "-c", script])
    lines = done.stdout.splitlines()
    assert lines[0] == "status 123", done.stderr  # xargs's word for: it failed
    assert json.loads(lines[1])["phase"] == "failed"
    assert json.loads(lines[2])["end"]
    assert "systemctl" in json.loads(lines[2])["error"]
    assert lines[3] == lines[1]
    assert lines[4].startswith("-rw------- ")
    assert "AssertPathIsMountPoint=/xportal/v1" in lines
    assert lines[-3:-1] == ["agent-whole", "agent.pyz"]
    assert lines[-1].startswith("whole-")
    assert "xportal: the full agent is not here yet: xportal up brings it" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_nothing_of_the_standard_library_is_missing_in_39(root: Path, tmp_path: Path) -> None:
    """Every module compiles and imports, warnings as errors, the comments stripped or not."""
    shutil.copytree(REPOSITORY / "xportal/agent", tmp_path / "agent")
    files = sorted((tmp_path / "agent").glob("*/[a-z]*.py"))
    names = ",".join(f"agent.{file.parent.name}.{file.stem}" for file in files)
    script = f"cd /mnt && python3 -W error -m compileall -q agent && python3 -W error -c 'import {names}'"
    done = debian11_root.run(root, tmp_path, ["sh", "-c", script])
    assert done.returncode == 0, done.stderr


def test_the_agent_imports_nothing_from_outside_itself() -> None:
    """Read off its sources: relative imports and the standard library."""
    told = subprocess.run(
        ["grep", "-rhoE", r"^\s*(from|import) [a-zA-Z0-9_.]+", str(REPOSITORY / "xportal/agent")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    modules = {line.split()[1].split(".")[0] for line in told.splitlines() if not line.split()[1].startswith(".")}
    assert modules <= set(sys.stdlib_module_names)
