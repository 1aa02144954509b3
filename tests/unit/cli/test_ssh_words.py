"""[ssh's options] PORTAL [command]: which words are ours, ssh's, the portal and the command's."""

from __future__ import annotations

from pathlib import Path

import pytest

from xportal.cli.ssh_like import ours_first, split_words
from xportal.errors import UsageError
from xportal.machine.userdata import new_host_key
from xportal.remote import Login, ssh_argv

VALUED = {"--profile": True, "--region": True, "--json": False, "--sandbox": False, "--help": False, "-h": False}


@pytest.mark.parametrize(
    ("line", "ours", "options", "command"),
    [
        ("demo", "", "", ""),
        ("demo df -h", "", "", "df -h"),
        ("demo -- df -h", "", "", "df -h"),
        ("demo --help", "", "", "--help"),
        ("demo ls --sandbox", "", "", "ls --sandbox"),
        ("--sandbox demo df -h", "--sandbox", "", "df -h"),
        ("--profile work -A demo", "--profile work", "-A", ""),
        ("-L 8888:localhost:8888 demo", "", "-L 8888:localhost:8888", ""),
        ("-L8888:localhost:8888 -N demo", "", "-L8888:localhost:8888 -N", ""),
        ("-NL 1:h:2 --region eu-west-1 demo x", "--region eu-west-1", "-NL 1:h:2", "x"),
        ("-o LogLevel=DEBUG -tt demo top", "", "-o LogLevel=DEBUG -tt", "top"),
        ("-- demo df", "", "", "df"),
        ("-v -- demo -- -- x", "", "-v", "-- x"),
        ("-h", "-h", None, ""),
    ],
)
def test_words(line: str, ours: str, options: str | None, command: str) -> None:
    """What follows the portal belongs to the command; ssh's own options go before it, ours among them."""
    own, rest = ours_first(line.split(), VALUED)
    assert own == ours.split()
    if options is not None:
        told = split_words(rest)
        assert (told.options, told.portal, told.command) == (tuple(options.split()), "demo", tuple(command.split()))


@pytest.mark.parametrize("line", ["", "-N", "-L 1:h:2", "--"])
def test_no_portal(line: str) -> None:
    """Options alone name no portal."""
    with pytest.raises(UsageError, match="needs a portal"):
        split_words(line.split())


def test_no_option_of_ssh() -> None:
    """An option that ssh does not have is named, before anything is asked of AWS."""
    with pytest.raises(UsageError, match="no option -Z"):
        ours_first(["-Z", "demo"], VALUED)


def test_options_change_nothing_about_the_host_key(tmp_path: Path) -> None:
    """ssh takes the first value of a setting: the pinned ones stand before the user's options, habits after them."""
    login = Login("198.18.0.1", "ec2-user", tmp_path / "key", new_host_key().public)
    argv = ssh_argv(login, ["df", "-h"], options=["-A", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=DEBUG"])
    assert argv.index("StrictHostKeyChecking=yes") < argv.index("StrictHostKeyChecking=no")
    assert argv.index("LogLevel=DEBUG") < argv.index("LogLevel=ERROR")
    assert "IdentityAgent=none" not in argv  # it would leave -A nothing to forward
    assert argv[-3:] == ["--", "198.18.0.1", "df -h"]
    assert "IdentityAgent=none" in ssh_argv(login, ["df"])
