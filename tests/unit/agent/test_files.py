"""Files that root writes where others can write: no link is followed, and what is in the way does no harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.covers import make_directories
from xportal.agent.core.events import Log
from xportal.agent.core.files import remove, write_whole
from xportal.agent.core.process import AgentError
from xportal.agent.core.save_requests import Request
from xportal.agent.full.notify_programs import tell_programs


@pytest.mark.parametrize("name", ["notice.json", "notice.json.xportal-new"])
@pytest.mark.parametrize("there", [True, False])
def test_no_link_is_written_through(tmp_path: Path, name: str, there: bool) -> None:
    """Neither at the file's name nor where it is written first; the target keeps its words, its owner and its mode."""
    target, file = tmp_path / "shadow", tmp_path / "notice.json"
    if there:
        target.write_text("secret")
        target.chmod(0o600)
    (tmp_path / name).symlink_to(target)
    write_whole(file, "told\n")
    assert not file.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o7777) == ("told\n", 0o644)
    assert target.exists() == there
    if there:
        assert (target.read_text(), target.stat().st_mode & 0o7777) == ("secret", 0o600)


def test_an_existing_file_keeps_its_mode_but_gives_nobody_root(tmp_path: Path) -> None:
    """The permissions are kept; a setuid bit that somebody has put there is not."""
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o4640)
    write_whole(file, "new")
    assert file.stat().st_mode & 0o7777 == 0o640


def test_a_link_to_nothing_is_removed(tmp_path: Path) -> None:
    """`exists` would not see it."""
    (tmp_path / "link").symlink_to("nowhere")
    remove(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "link")


def test_what_is_in_the_notice_s_place_hides_it_from_nobody_else(tmp_path: Path) -> None:
    """A directory on one drive: it is said, the other drive gets its file, and the user's command runs."""
    drives = [DriveConfig(name, 1, mount=str(tmp_path / name)) for name in ("one", "two")]
    paths = Paths(tmp_path / "root")
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", drives))
    drives[0].notice.mkdir(parents=True)
    Path(drives[1].mount).mkdir()
    log = Log(tmp_path / "log.jsonl")
    tell_programs(paths, Request(notice={"action": "terminate"}), log)
    assert drives[1].notice.exists()
    assert "one/xportal-notice.json cannot be written" in (tmp_path / "log.jsonl").read_text()


def test_directories_that_are_to_be_covered_are_made(tmp_path: Path) -> None:
    """On a new drive all, closed to others; on one that was always another drive's companion not what is the user's."""
    assert make_directories(tmp_path, main=True) == ["docker", "home", ".xportal"]
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "docker": 0o711,
        "home": 0o711,
        ".xportal": 0o700,
    }
    (tmp_path / "home/photos").mkdir()
    assert make_directories(tmp_path, main=False) == ["docker", ".xportal"]
    (tmp_path / ".xportal/running.json").touch()  # it was the first drive of some portal
    assert make_directories(tmp_path, main=False) == ["docker", "home", ".xportal"]


@pytest.mark.parametrize("name", ["docker", "home", ".xportal"])
def test_a_link_in_the_place_of_one_is_not_followed(tmp_path: Path, name: str) -> None:
    """A container that had all of the drive can have put it there: the drive is not opened, and that is said."""
    (tmp_path / name).symlink_to("/etc")
    with pytest.raises(AgentError, match=f"{name} is no directory"):
        make_directories(tmp_path, main=True)
