"""What the machine's image lacks is installed, by scripts in place of dnf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.agent.conftest import Programs
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.events import Log
from xportal.agent.core.process import AgentError
from xportal.agent.core.state import log_path, read_state, update_state
from xportal.agent.full.boot_retry import try_again
from xportal.agent.full.packages import DNF, Dnf, install_docker

NO_NETWORK = """Errors during downloading metadata for repository 'amazonlinux':
  - Curl error (28): Timeout was reached for https://example.com/mirror.list
Error: Failed to download metadata for repo 'amazonlinux': Cannot prepare internal mirrorlist"""
LOCKED = """RPM: error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)
Error: Could not run transaction."""
# dnf 4 says one line on each stream.
OFFERED = (
    'case "$*" in {}) ;; *) echo "No match for argument: x"; echo "Error: Unable to find a match: x" >&2; exit 1;; esac'
)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """The boot's log."""
    return Log(tmp_path / "boot.jsonl")


def sentences(tmp_path: Path) -> list[str]:
    """What the log says."""
    path = tmp_path / "boot.jsonl"
    return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


def asked(programs: Programs) -> list[str]:
    """What each call of dnf was to install, and from which release."""
    beginning = " ".join(DNF) + " "
    return [call.removeprefix(beginning) for call in programs.calls() if call.startswith(beginning)]


@pytest.mark.parametrize(
    ("before", "offered", "calls"),
    [
        (None, "*docker-25*", ["docker-25.*"]),
        ("20.10.24+dfsg1", "*docker-25*", ["docker-25.*"]),
        ("25.0.16", "*docker-25*", ["docker-25.*"]),
        ("29.7.2", "*docker-29*", ["docker-29.*"]),
        ("29.7.2", "*latest?docker-29*", ["docker-29.*", "--releasever=latest docker-29.*"]),
        (None, "*=0?docker", ["docker-25.*", "--releasever=latest docker-25.*", "docker"]),
    ],
)
def test_docker_s_major_version_is_the_drive_s_or_the_gpu_image_s(
    programs: Programs, log: Log, tmp_path: Path, before: str | None, offered: str, calls: list[str]
) -> None:
    """From the image's own release, or the newest one; if neither has it, what there is, and that is said."""
    programs.put("dnf", OFFERED.format(offered))
    install_docker(before, Dnf(log, seconds=0), log)
    assert asked(programs) == calls
    assert ("No repository offers Docker 25" in " ".join(sentences(tmp_path))) == (calls[-1] == "docker")


def test_a_machine_that_is_offered_no_docker_at_all_says_so(programs: Programs, log: Log) -> None:
    """That does not pass: it is not tried again."""
    programs.put("dnf", OFFERED.format("-"))
    with pytest.raises(AgentError, match="no repository of this machine offers Docker"):
        install_docker(None, Dnf(log, seconds=0), log)
    assert len(asked(programs)) == 3


def test_a_dnf_that_fails_twice_is_tried_again(programs: Programs, log: Log, tmp_path: Path) -> None:
    """The network comes a moment after the machine. Each reason is said once, in dnf's words, with their cause."""
    count = tmp_path / "count"
    programs.put("dnf", f'echo >> {count}; [ $(wc -l < {count}) -gt 2 ] || {{ echo "{NO_NETWORK}" >&2; exit 1; }}')
    install_docker(None, Dnf(log, every=0.01), log)
    assert asked(programs) == ["docker-25.*"] * 3
    [said] = sentences(tmp_path)
    assert said.startswith("dnf failed, and is tried again: ")
    assert "Curl error (28)" in said
    assert "Failed to download metadata" in said


def test_a_lock_that_somebody_holds_is_waited_for(programs: Programs, log: Log, tmp_path: Path) -> None:
    """Amazon Linux updates itself at boot, and its packages' database is locked meanwhile."""
    lock = tmp_path / "lock"
    lock.touch()
    calls = f"$(grep -c ^dnf {programs.directory}/.log)"
    fails = f'echo "{LOCKED}" >&2; [ {calls} -lt 3 ] || rm {lock}; exit 1'
    programs.put("dnf", f"[ ! -e {lock} ] || {{ {fails}; }}")
    install_docker(None, Dnf(log, every=0.01), log)
    assert asked(programs) == ["docker-25.*"] * 4
    assert "can't create transaction lock" in sentences(tmp_path)[0]


def test_what_does_not_pass_in_time_is_the_error(programs: Programs, log: Log) -> None:
    """With the command that failed, and dnf's own words."""
    programs.put("dnf", f'echo "{NO_NETWORK}" >&2; exit 1')
    with pytest.raises(AgentError, match=r"dnf install .*docker-25.* failed: .*Curl error \(28\)"):
        install_docker(None, Dnf(log, seconds=0.05, every=0.01), log)


def test_an_image_without_docker_and_dnf_is_said(programs: Programs, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody's own image may be."""
    monkeypatch.setenv("PATH", str(programs.directory))
    with pytest.raises(AgentError, match="no dnf to install docker-25"):
        install_docker(None, Dnf(log), log)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A machine whose boot has failed, with the drive not open."""
    paths = Paths(tmp_path)
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1, mount="/nowhere")]))
    Log(log_path(paths, "boot")).end(False, "mkfs.ext4 failed with status 127: mkfs.ext4 is not installed", {})
    update_state(paths, phase="failed", error="mkfs.ext4 is not installed")
    return paths


@pytest.fixture
def lean(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A machine without the programs of ext4."""
    for name in ("sh", "cat", "touch", "chmod", "sleep"):
        (programs.directory / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(programs.directory))
    return programs


def test_an_image_without_the_programs_of_ext4_gets_them(paths: Paths, lean: Programs) -> None:
    """The boot that failed for want of them begins again."""
    place = lean.directory
    lean.put("dnf", f"for program in e2fsck resize2fs; do touch {place}/$program; chmod 755 {place}/$program; done")
    assert try_again(paths) == "opening"
    assert asked(lean) == ["e2fsprogs"]
    assert (read_state(paths)["phase"], read_state(paths)["error"]) == ("opening", None)
    [line] = log_path(paths, "boot").read_text().splitlines()
    assert "lacks e2fsck, resize2fs: installing e2fsprogs" in line


def test_an_image_that_cannot_get_the_programs_of_ext4_says_so(paths: Paths, lean: Programs) -> None:
    """The machine stays up, and its state says why the drive is not open."""
    lean.put("dnf", OFFERED.format("-"))
    assert try_again(paths) == "failed"
    error = read_state(paths)["error"]
    assert error == ("the drive cannot be opened without e2fsck, resize2fs: no repository offers e2fsprogs")
    assert json.loads(log_path(paths, "boot").read_text().splitlines()[-1])["error"] == error
