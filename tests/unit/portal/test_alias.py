"""The files of ssh that are the user's: one line of them is ours, and only with their consent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xportal.errors import LocalFileError, Refused
from xportal.portal.alias import Place, add_line, alias_of, is_installed, line_to_add, remove_alias, write_alias

OWN = "Include ~/.orbstack/ssh/config\n\nHost work\n  User me\n"
DEMO = Place("demo", "mine", "us-east-1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, without anything in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path


@pytest.fixture
def config(home: Path) -> Path:
    """Their configuration of ssh, with somebody else's line in it."""
    (home / ".ssh").mkdir(mode=0o700)
    path = home / ".ssh" / "config"
    path.write_text(OWN)
    path.chmod(0o640)
    return path


def test_one_line_is_added_once(config: Path) -> None:
    """At the top; all else, and the file's mode, stay. Nothing else is made beside it."""
    assert not is_installed()
    add_line()
    add_line()
    assert config.read_text() == f"{line_to_add()}\n{OWN}"
    assert config.stat().st_mode & 0o777 == 0o640
    assert is_installed()
    assert os.listdir(config.parent) == ["config"]


def test_a_home_without_ssh_gets_a_private_one(home: Path) -> None:
    """Directory 0700 and file 0600, as ssh wants them."""
    add_line()
    directory = home / ".ssh"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "config").stat().st_mode & 0o777 == 0o600
    assert (directory / "config").read_text() == f"{line_to_add()}\n"


def test_a_link_stays_a_link(home: Path, config: Path) -> None:
    """The line goes to the file that it leads to, as in a repository of dotfiles; also if that is not there yet."""
    dotfiles = home / "dotfiles"
    dotfiles.mkdir()
    config.rename(dotfiles / "ssh")
    config.symlink_to("../dotfiles/ssh")
    add_line()
    assert config.is_symlink()
    assert (dotfiles / "ssh").read_text() == f"{line_to_add()}\n{OWN}"
    (dotfiles / "ssh").unlink()
    add_line()
    assert config.is_symlink()
    assert (dotfiles / "ssh").read_text() == f"{line_to_add()}\n"


def test_a_read_only_file_is_left_alone(config: Path) -> None:
    """Also if this user could write to it all the same; the hint has the line."""
    config.chmod(0o444)
    with pytest.raises(Refused, match="read-only") as caught:
        add_line()
    assert line_to_add() in caught.value.hint
    assert config.read_text() == OWN
    assert os.listdir(config.parent) == ["config"]


def test_what_cannot_be_written_is_said_with_the_line(home: Path) -> None:
    """As where ~/.ssh is a file."""
    (home / ".ssh").write_text("not a directory")
    with pytest.raises(LocalFileError) as caught:
        add_line()
    assert line_to_add() in caught.value.hint


def test_line_ends_stay_as_they_are(config: Path) -> None:
    """A file from Windows has a carriage return at each line's end, the new line's too."""
    config.write_bytes(OWN.replace("\n", "\r\n").encode())
    add_line()
    assert config.read_bytes() == f"{line_to_add()}\n{OWN}".replace("\n", "\r\n").encode()


def test_portals_of_one_name_have_aliases_of_their_own() -> None:
    """Each profile and region keeps the one that it has, whatever others come; a removed one is free again."""
    places = [
        DEMO,
        Place("demo", "work", "us-east-1"),
        Place("demo", "work", "eu-west-1"),
        Place("demo", "wo rk/..", "eu-west-1"),
        Place("demo", None, "us-east-1"),
        Place("demo.work", "mine", "us-east-1"),
    ]
    for place in places:
        write_alias(alias_of(place))
    aliases = [alias_of(place) for place in places]
    assert [alias.name for alias in aliases[:5]] == [
        "xportal-demo",
        "xportal-demo.work",
        "xportal-demo.work.eu-west-1",
        "xportal-demo.wo_rk___",
        "xportal-demo.none",
    ]
    assert len({alias.name for alias in aliases}) == len(places)
    for alias in aliases:
        profile = ["--profile", alias.place.profile] if alias.place.profile else []
        words = alias.file.read_text()
        assert f"--region {alias.place.region} ssh-config {alias.place.portal} --refresh {alias.name}" in words
        assert ("-u AWS_PROFILE" in words) is not bool(profile)
    assert not remove_alias(alias_of(Place("demo", "other", "us-east-1")))
    assert remove_alias(aliases[0])
    assert alias_of(Place("demo", "other", "us-east-1")).name == "xportal-demo"
    assert alias_of(places[1]).name == "xportal-demo.work"


def test_a_file_that_tells_no_owner_is_nobody_s_to_overwrite() -> None:
    """The alias gets another name."""
    alias = alias_of(DEMO)
    alias.file.parent.mkdir(parents=True)
    alias.file.write_text("Host xportal-demo\n")
    assert alias_of(DEMO).name == "xportal-demo.mine"
    assert alias.file.read_text() == "Host xportal-demo\n"


def test_what_leads_to_the_account_is_burned_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the environment, which a program that uses ssh may not have; secrets are not written."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/etc/aws config")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = alias_of(DEMO).text()
    assert "env 'AWS_CONFIG_FILE=/etc/aws config' " in text
    assert "--profile mine --region us-east-1" in text
    assert "secret" not in text
