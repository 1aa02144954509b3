"""What a drive says about itself, and which Docker may work on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from xportal.agent.core.config import DriveConfig
from xportal.agent.core.files import read_json, write_json
from xportal.agent.core.process import AgentError
from xportal.agent.full.start_containers import check_docker, mark_docker


@pytest.fixture
def drive(tmp_path: Path) -> DriveConfig:
    """A drive mounted somewhere."""
    (tmp_path / ".xportal").mkdir()
    return DriveConfig("data", 1, mount=str(tmp_path))


@pytest.mark.parametrize("version", ["25.0.1", "25.0.16", "29.7.2"])
def test_the_same_docker_or_a_newer_one_may_work_on_the_drive(drive: DriveConfig, version: str) -> None:
    """Major versions count."""
    check_docker(drive, version)  # nobody has yet
    mark_docker(drive, "25.0.16")
    check_docker(drive, version)


def test_an_older_docker_may_not(drive: DriveConfig) -> None:
    """It is told which one would do; the rest of what the drive says about itself stays."""
    write_json(drive.directory / "drive.json", {"name": "data"})
    mark_docker(drive, "25.0.16")
    assert read_json(drive.directory / "drive.json") == {"name": "data", "docker": "25.0.16"}
    with pytest.raises(AgentError, match=r"Docker 25\.0\.16 has worked on drive data.* Docker 25 or newer"):
        check_docker(drive, "24.0.9")
