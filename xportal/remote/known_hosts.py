"""Host keys pinned by us: a known_hosts line of one machine, and the `ssh` command line that uses nothing else."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from xportal import local
from xportal.remote.host import Login


def known_hosts_line(login: Login) -> str:
    """The machine's address and host key as OpenSSH's and paramiko's known_hosts files have it."""
    name = login.address if login.port == 22 else f"[{login.address}]:{login.port}"
    return f"{name} {login.host_key.strip()}"


def known_hosts_file(login: Login) -> Path:
    """A file beside the login key that holds this machine's line alone, written anew if it differs."""
    path = login.key_file.with_name(login.key_file.name + ".known_hosts")
    text = known_hosts_line(login) + "\n"
    with local.files("what ssh knows of the machine"):
        if not path.exists() or path.read_text() != text:
            partial = path.with_name(f"{path.name}.{os.getpid()}")
            partial.write_text(text)
            partial.replace(path)
    return path


def ssh_options(login: Login) -> list[str]:
    """`ssh` options for this machine: its pinned host key and our login key, no agent, nothing of ~/.ssh.

    Also what `rsync -e` needs. Writes the known_hosts file.
    """
    return [*_pinned(login), *_habits(agent=False)]


def ssh_argv(login: Login, argv: Sequence[str] = (), *, tty: bool = False, options: Sequence[str] = ()) -> list[str]:
    """The system's `ssh` as a command line: a login shell, or `argv` run as it stands (no shell reads it twice).

    `tty` asks for a terminal, which a login shell has anyway. `options` are ssh's own, of the user: they win over
    what is a habit of ours, and change nothing about the host key.
    """
    terminal = ["-t"] if tty else []
    # "--" stands before the address: ssh would go on to look for options after it otherwise
    command = [shlex.join(argv)] if argv else []
    return ["ssh", *_pinned(login), *terminal, *options, *_habits(agent=bool(options)), "--", login.address, *command]


def _pinned(login: Login) -> list[str]:
    """Who logs in where, and the one host key that may answer. ssh takes the first value of a setting."""
    return [
        *("-F", "/dev/null"),
        *("-i", str(login.key_file)),
        *("-p", str(login.port)),
        *("-l", login.user),
        *_option("UserKnownHostsFile", _quoted(known_hosts_file(login))),
        *_option("GlobalKnownHostsFile", "/dev/null"),
        *_option("StrictHostKeyChecking", "yes"),
        *_option("UpdateHostKeys", "no"),
        *_option("IdentitiesOnly", "yes"),
    ]


def _habits(*, agent: bool) -> list[str]:
    """`agent`: the user's agent may be forwarded (-A); for the login it has no use, as only our key counts."""
    return [
        *([] if agent else _option("IdentityAgent", "none")),
        *_option("PasswordAuthentication", "no"),
        *_option("ServerAliveInterval", "15"),
        *_option("LogLevel", "ERROR"),
    ]


def _option(name: str, value: str) -> list[str]:
    return ["-o", f"{name}={value}"]


def _quoted(path: Path) -> str:
    """A path as ssh_config wants it: UserKnownHostsFile is a list of files, split at spaces."""
    return f'"{path}"' if " " in str(path) else str(path)
