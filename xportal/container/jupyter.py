"""Jupyter servers on a machine and in its containers: where each listens, and its token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from xportal import foreign
from xportal.container.engine import Engine, docker_errors, understood
from xportal.remote import Host

LOOPBACK = "127.0.0.1"
TOKEN = "JUPYTER_TOKEN"  # the variable from which a server takes its token, if nothing else sets one
WORDS = ("jupyter", "notebook")  # one of them is in the command, or in the image's, of a container with a server
_APART = "\x1e"
# Each server writes a file with its port and token, named after its process. It stays behind if the server is killed.
SCRIPT = r"""
for directory in "$JUPYTER_RUNTIME_DIR" "${JUPYTER_DATA_DIR:-/none}/runtime" \
    "${XDG_DATA_HOME:-/none}/jupyter/runtime" "${HOME:-/none}/.local/share/jupyter/runtime" \
    /root/.local/share/jupyter/runtime /home/*/.local/share/jupyter/runtime; do
    for file in "$directory"/jpserver-*.json "$directory"/nbserver-*.json; do
        process=${file##*-}; process=${process%.json}
        [ -r "$file" ] && [ -r "/proc/$process/cmdline" ] || continue
        case $(cat "/proc/$process/cmdline" 2> /dev/null) in
            *[Jj]upyter*) cat "$file"; printf '\036' ;;
        esac
    done
done"""


@dataclass(frozen=True)
class Server:
    """A server, and the address at which the machine itself reaches it."""

    container: str | None  # None: it runs on the machine
    host: str
    port: int
    token: str  # empty with a password, or without any protection
    base_url: str = "/"
    is_secure: bool = False

    def url(self, port: int) -> str:
        """Where a browser finds it, if that port of this computer leads to it."""
        token = f"?token={quote(self.token)}" if self.token else ""
        return f"{'https' if self.is_secure else 'http'}://localhost:{port}{quote(self.base_url)}{token}"


def list_servers(engine: Engine, host: Host, container: str | None = None) -> list[Server]:
    """The servers in running containers, or in one alone; then those that the login user runs on the machine."""
    found: list[Server] = []
    with docker_errors("the list of containers"):
        for listed in engine.client.api.containers():
            found += _servers_in(engine, str(listed["Id"]))
    if container is None:
        told = host.run(["sh", "-c", SCRIPT], timeout=30.0, check=False).stdout
        found += [server_of(raw, None, LOOPBACK, {}) for raw in read_files(told)]
    return [s for s in dict.fromkeys(found) if container in (None, s.container)]


def server_of(raw: Mapping[str, Any], container: str | None, address: str, published: Mapping[int, int]) -> Server:
    """A server, as its file tells of it. `published`: ports of the machine by those of the container."""
    port = int(raw["port"])
    host, port = (LOOPBACK, published[port]) if port in published else (address, port)
    return Server(container, host, port, raw["token"], raw["base_url"], raw["secure"])


def read_files(text: str) -> Iterator[dict[str, Any]]:
    """What the script found; a file that makes no sense is left out."""
    for part in text.split(_APART):
        try:
            raw = json.loads(part)
            port = foreign.field(raw, "port", int)
            base, token = foreign.field(raw, "base_url", str), foreign.field(raw, "token", str)
            secure = bool(foreign.optional(raw, "secure", bool))
        except (ValueError, RecursionError):
            continue
        if 0 < port < 65536 and base.startswith("/"):
            yield {"port": port, "base_url": base, "token": token, "secure": secure}


def is_jupyter(*words: object) -> bool:
    """Whether a container's or an image's command is a Jupyter server's."""
    return any(word in str(given).lower() for given in words for word in WORDS)


def _servers_in(engine: Engine, container_id: str) -> list[Server]:
    from docker.errors import APIError

    api = engine.client.api
    try:
        inspected = api.inspect_container(container_id)
        created = api.exec_create(container_id, ["sh", "-c", SCRIPT], user="0", stderr=False)
        told = api.exec_start(created["Id"]).decode(errors="replace")
    except APIError:
        return []  # it ended in between, or has no shell
    with understood("a container"):
        name = inspected["Name"].lstrip("/")
        address, published = reached_at(inspected)
    return [server_of(raw, name, address, published) for raw in read_files(told)]


def reached_at(inspected: Mapping[str, Any]) -> tuple[str, dict[int, int]]:
    """How the machine reaches a container: an address, and ports of the machine by those of the container."""
    networks = inspected["NetworkSettings"].get("Networks") or {}
    address = next((net["IPAddress"] for net in networks.values() if net.get("IPAddress")), LOOPBACK)
    bound = inspected["NetworkSettings"].get("Ports") or {}
    published = {
        int(port.partition("/")[0]): int(at[0]["HostPort"])
        for port, at in bound.items()
        if at and port.endswith("/tcp") and at[0].get("HostPort")
    }
    return foreign.address(address) or LOOPBACK, published
