"""What OpenSSH's configuration says of a portal. Texts alone: `xportal.portal.alias` writes them."""

from __future__ import annotations

import re
import shlex
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from xportal.errors import UsageError
from xportal.remote.host import Login
from xportal.remote.known_hosts import known_hosts_file

# Versions of OpenSSH differ in how these are escaped in a configuration file; Include reads some as a pattern.
_NO_PATH = re.compile(r"""["'\\%$*?\[\]\x00-\x1f\x7f]""")
_NO_COMMAND = re.compile(r'["\\\x00-\x1f\x7f]')


def alias_text(alias: str, refresh: Sequence[str], machine_file: Path) -> str:
    """The blocks that make `ssh ALIAS` lead to a portal's machine of the moment.

    `refresh` is a command that finds the machine, writes its settings to `machine_file` and ends with 0; ssh runs it
    before it reads that file. If the command fails, HostName is not set, and the second block lets ssh fail at once:
    without it ssh would look the alias up in the DNS, and might find somebody else's machine.
    """
    return f"""Match originalhost {alias} exec "{_command(refresh)}"
    Include {path_word(machine_file)}
Match host {alias}
    ProxyCommand false
    LogLevel QUIET
"""


def machine_text(login: Login) -> str:
    """The settings with which ssh logs in to one machine, and to no other: what its host key proves.

    Writes the known_hosts file. The user's ssh agent stays in reach for `-A`; it has no say in the login.
    """
    settings = {
        "HostName": login.address,
        "Port": str(login.port),
        "User": login.user,
        "IdentityFile": path_word(login.key_file),
        "IdentitiesOnly": "yes",
        "PasswordAuthentication": "no",
        "UserKnownHostsFile": path_word(known_hosts_file(login)),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "VerifyHostKeyDNS": "no",
        "NoHostAuthenticationForLocalhost": "no",
        "UpdateHostKeys": "no",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",  # a machine that lost its power is noticed after 45 seconds
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def still_answers(machine_file: Path, seconds: float) -> bool:
    """Whether the settings were written less than `seconds` ago, and something answers at their address."""
    try:
        age = time.time() - machine_file.stat().st_mtime
        told = dict(line.split(" ", 1) for line in machine_file.read_text().splitlines())
        if not 0 <= age < seconds:
            return False
        socket.create_connection((told["HostName"], int(told["Port"])), timeout=1.0).close()
    except (OSError, ValueError, KeyError):
        return False
    return True


def include_line(pattern: Path) -> str:
    """The line of ~/.ssh/config that includes all files of a pattern. Raises UsageError."""
    return f'Include {path_word(pattern.parent)[:-1]}/{pattern.name}"'


def is_included(config: bytes, pattern: Path, home: Path) -> bool:
    """Whether a configuration includes `pattern` for every host, however somebody has written that.

    A line below the first Host or Match belongs to that block, and does not count.
    """
    for line in config.decode(errors="surrogateescape").splitlines():
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in ("host", "match"):
            return False
        if keyword.lower() == "include" and pattern in [_expanded(word, home) for word in _words(rest)]:
            return True
    return False


def with_include(config: bytes, line: str) -> bytes:
    """The configuration with a line at its top, where it belongs to no block, in the file's own line ends."""
    first = config.partition(b"\n")[0]
    return line.encode() + (b"\r\n" if first.endswith(b"\r") else b"\n") + config


def path_word(path: Path) -> str:
    """A path as a word of ssh's configuration. Raises UsageError for what ssh could read in another way."""
    if _NO_PATH.search(str(path)):
        raise UsageError(f"ssh's configuration cannot name {path}", hint="XDG_STATE_HOME=DIR, with a plain path")
    return f'"{path}"'


def _command(words: Sequence[str]) -> str:
    """A command line for the user's shell, in the double quotes of Match. Raises UsageError."""
    text = shlex.join(words)
    if _NO_COMMAND.search(text):
        raise UsageError(f"ssh's configuration cannot hold this command: {text}", hint="plain names and paths can")
    return text.replace("%", "%%")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote: ssh refuses the file
        return []


def _expanded(word: str, home: Path) -> Path:
    """As ssh reads a pattern of the user's configuration."""
    return home / word[2:] if word.startswith("~/") else home / ".ssh" / word
