"""What is written for OpenSSH, and how OpenSSH reads it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from xportal.errors import UsageError
from xportal.remote import Login
from xportal.remote.ssh_config import (
    alias_text,
    include_line,
    is_included,
    machine_text,
    still_answers,
    with_include,
)

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a"


def read_by_ssh(config: Path, host: str) -> dict[str, str]:
    """The settings that ssh would use for a host; nothing connects."""
    done = subprocess.run(["ssh", "-G", "-F", config, host], capture_output=True, text=True, check=True)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def write_config(tmp_path: Path, refresh: list[str]) -> Path:
    """A user's configuration with the line, and settings of their own below it."""
    (tmp_path / "xportal-demo.conf").write_text(alias_text("xportal-demo", refresh, tmp_path / "demo.machine"))
    config = tmp_path / "config"
    own = b"Host *\r\n  User me\r\n  StrictHostKeyChecking no\r\n"
    config.write_bytes(with_include(own, include_line(tmp_path / "*.conf")))
    return config


def test_ssh_reads_what_its_own_question_has_just_written(tmp_path: Path) -> None:
    """Address, key and host key of the machine of the moment; what the user says of all hosts does not weaken them."""
    key = tmp_path / "k.key"
    settings = machine_text(Login("127.0.0.9", "ec2-user", key, HOST_KEY))
    (tmp_path / "next").write_text(settings)
    config = write_config(tmp_path, ["cp", f"{tmp_path}/next", f"{tmp_path}/demo.machine"])
    told = read_by_ssh(config, "xportal-demo")
    assert (told["hostname"], told["user"], told["identityfile"]) == ("127.0.0.9", "ec2-user", str(key))
    assert (told["stricthostkeychecking"], told["userknownhostsfile"]) == ("true", f"{key}.known_hosts")
    assert "proxycommand" not in told
    (tmp_path / "next").write_text(settings.replace("127.0.0.9", "127.0.0.10"))
    assert read_by_ssh(config, "xportal-demo")["hostname"] == "127.0.0.10"
    other = read_by_ssh(config, "elsewhere")
    assert (other["hostname"], other["user"], other["stricthostkeychecking"]) == ("elsewhere", "me", "false")


def test_without_a_machine_ssh_connects_nowhere(tmp_path: Path) -> None:
    """The command that asks for the machine fails, or is gone: no earlier machine is tried, no name looked up."""
    for refresh in (["false"], ["/no/such/program"]):
        config = write_config(tmp_path, refresh)
        (tmp_path / "demo.machine").write_text("HostName 127.0.0.9\n")
        assert read_by_ssh(config, "xportal-demo")["proxycommand"] == "false"
        done = subprocess.run(["ssh", "-F", config, "xportal-demo"], capture_output=True, text=True, check=False)
        assert done.returncode == 255
        assert "resolve" not in done.stderr
        assert "closed" not in done.stderr
        assert "proxycommand" not in read_by_ssh(config, "elsewhere")


def test_a_command_with_odd_words_reaches_the_shell_whole(tmp_path: Path) -> None:
    """A percent sign, spaces and dollars; what versions of ssh read differently is refused."""
    odd = tmp_path / "a 100%h $HOME"
    config = write_config(tmp_path, ["touch", str(odd)])
    read_by_ssh(config, "xportal-demo")
    assert odd.exists()
    with pytest.raises(UsageError, match="cannot hold"):
        alias_text("xportal-demo", ["touch", 'a"b'], tmp_path / "m")
    for name in ("a%b", "a*b", 'a"b', "a[b", "a\\b", "a\nb"):
        with pytest.raises(UsageError, match="cannot name"):
            include_line(tmp_path / name / "*.conf")


@pytest.mark.parametrize(
    ("config", "is_in"),
    [
        ('Include "/h/.local/ssh/*.conf"\n', True),
        ("# mine\n\n  include ~/.local/ssh/*.conf\nHost a\n", True),
        ("Include=~/.local/ssh/*.conf\r\nHost a\r\n", True),
        ("Include ~/.orbstack/config ../.local/ssh/*.conf\n", False),
        ("Include ~/.orbstack/config /h/.local/ssh/*.conf\n", True),
        ("Host a\n  Include /h/.local/ssh/*.conf\n", False),
        ("Match all\nInclude /h/.local/ssh/*.conf\n", False),
        ("#Include /h/.local/ssh/*.conf\n", False),
        ("Include /h/.local/ssh/*.confs\n", False),
        ("Include '/h/.local/ssh/*.conf\n", False),
        ("Include \udcff /h/.local/ssh/*.conf\n", True),
        ("", False),
    ],
)
def test_a_line_counts_however_it_is_written(config: str, is_in: bool) -> None:
    """Relative to the home or absolute, quoted or not, among others; but not in a block, a comment or a like name."""
    text = config.encode(errors="surrogateescape")
    assert is_included(text, Path("/h/.local/ssh/*.conf"), Path("/h")) is is_in


@pytest.mark.parametrize("own", [b"", b"Host a\n", b"Host a\r\n  User b\r\n", b"# no end", b"\xff\n"])
def test_the_line_is_all_that_is_added(own: bytes) -> None:
    """At the top, with the file's own line ends; the rest is byte for byte what it was."""
    line = include_line(Path("/h/ssh/*.conf"))
    new = with_include(own, line)
    assert new.endswith(own)
    assert new[: len(new) - len(own)] == line.encode() + (b"\r\n" if b"\r\n" in own else b"\n")
    assert is_included(new, Path("/h/ssh/*.conf"), Path("/h"))


def test_what_was_asked_a_moment_ago_is_not_asked_again(tmp_path: Path) -> None:
    """Unless it is older, of a time to come, makes no sense, or nothing answers there any more."""
    path, login = tmp_path / "demo.machine", Login("127.0.0.1", "ec2-user", tmp_path / "k.key", HOST_KEY)
    assert not still_answers(path, 10.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        path.write_text(machine_text(replace(login, port=server.getsockname()[1])))
        assert still_answers(path, 10.0)
        for seconds in (-11, 60):
            os.utime(path, (time.time() + seconds, time.time() + seconds))
            assert not still_answers(path, 10.0)
        os.utime(path)
        assert still_answers(path, 10.0)
    assert not still_answers(path, 10.0)
    path.write_text("HostName 127.0.0.1\n")
    assert not still_answers(path, 10.0)
