"""When setup.sh stops Docker Engine, with programs in PATH that stand in for it: no real engine is touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.machine  # it needs root, for namespaces

ROOT = Path(__file__).parents[2]
NEEDED = (
    "ip",
    "iptables",
    "losetup",
    "mkfs.ext4",
    "mkfs.xfs",
    "mmdebstrap",
    "ps",
    "rsync",
    "ssh",
    "sshd",
    "slirp4netns",
)
PROGRAMS: Mapping[str, str] = {
    **dict.fromkeys((*NEEDED, "fuse-overlayfs"), ":"),
    "apt-get": "echo apt-get is not to be called >&2; exit 1",
    "python": 'shift; exec "$@"',  # .ci/own_root.py, which leaves a chroot
    "dockerd": "echo $$ >/run/docker.pid; exec sleep 600",
    # One that was killed answers no more, though nobody has waited for it yet.
    "docker": """[ "$1" != version ] ||
        { read -r pid </run/docker.pid && grep -q '^State:.[^Z]' "/proc/$pid/status"; }""",
    "systemctl": """case $1 in
        start) dockerd 8>&- 9>&- & while ! docker version; do sleep 0.1; done ;;
        show) cat /run/docker.pid ;;
        stop) kill "$(cat /run/docker.pid)"; while docker version; do sleep 0.1; done ;;
        esac""",
}
# A namespace with an empty /run, whose processes all end with it.
ENTER = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
show() { if docker version 2>/dev/null; then echo up; else echo down; fi; }
until_there() { while [ ! -e "$1" ]; do sleep 0.05; done; }
until_told() { ./setup.sh with-engine sh -c "touch /run/$1; while [ ! -e /run/end-$1 ]; do sleep 0.05; done"; }
"""
SYSTEMD = "mkdir -p /run/systemd/system\n"


def play(tmp_path: Path, script: str) -> list[str]:
    """Run a script in that namespace. Returns the words that it prints."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc", ENTER + script]
    path = f"{programs}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHON": str(programs / "python")}
    done = subprocess.run(enter, check=False, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("host", ["", SYSTEMD], ids=["alone", "systemd"])
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("show; ./setup.sh with-engine echo works; show", ["down", "works", "down"]),
        ("./setup.sh engine; ./setup.sh with-engine true; ./setup.sh with-engine true; show", ["up"]),
        ("dockerd & until_there /run/docker.pid; ./setup.sh with-engine true; show", ["up"]),
    ],
    ids=["none before", "make engine before", "somebody's before"],
)
def test_an_engine_that_ran_before_goes_on(tmp_path: Path, host: str, script: str, told: list[str]) -> None:
    """Whoever started it; one that was started for the command is stopped after it."""
    assert play(tmp_path, host + script) == told


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("until_told a & until_there /run/a; ./setup.sh engine; touch /run/end-a; wait $!; show", ["up"]),
        (
            "until_told a & a=$!; until_there /run/a; until_told b & b=$!; until_there /run/b; "
            "touch /run/end-a; wait $a; show; touch /run/end-b; wait $b; show",
            ["up", "down"],
        ),
        ("./setup.sh with-engine sh -c 'kill -TERM $PPID' || show", ["down"]),
    ],
    ids=["make engine meanwhile", "another command meanwhile", "interrupted"],
)
def test_the_last_that_needs_the_engine_stops_it(tmp_path: Path, script: str, told: list[str]) -> None:
    """One that somebody asks to leave running meanwhile is not stopped at all."""
    assert play(tmp_path, script) == told


@pytest.mark.parametrize("mark", ["", "$(cat /run/docker.pid)", "$(cat /run/docker.pid) 1", "1 1"])
def test_a_mark_that_is_of_no_process_that_runs_stops_nothing(tmp_path: Path, mark: str) -> None:
    """As after a kill -9 of everything, when somebody has started an engine of their own; an older version's, too."""
    script = f"""
    mkdir /run/xportal-setup
    dockerd & until_there /run/docker.pid
    echo "{mark}" >/run/xportal-setup/started
    ./setup.sh with-engine true; show
    """
    assert play(tmp_path, script) == ["up"]
