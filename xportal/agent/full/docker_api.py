"""Docker's API over its socket: what its command line cannot say."""

from __future__ import annotations

import http.client
import json
import select
import socket
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional
from urllib.parse import urlencode

from ..core.process import AgentError

ANSWER_SECONDS = 60.0
LOOK_SECONDS = 0.5
CHUNK = 1 << 20

SOCKET = "/run/docker.sock"


class Connection(http.client.HTTPConnection):
    """HTTP through Docker's socket."""

    def __init__(self, at: str, timeout: Optional[float]) -> None:
        super().__init__("docker", timeout=timeout)
        self._at = at

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._at)


class Engine:
    """Docker's API. Every call raises `AgentError` with Docker's own words if Docker refuses.

    What may take long asks `check` now and then, which raises `AgentError` when it may not take any longer: then nobody
    waits for Docker any more.
    """

    def __init__(self, check: Callable[[], None] = lambda: None, at: str = SOCKET) -> None:
        self._check = check
        self._at = at

    def create(self, name: str, body: Dict[str, Any]) -> str:
        """Make a container (`body` as in POST /containers/create). Returns its id."""
        return str(self._ask("POST", "/containers/create", body, name=name)["Id"])

    def connect(self, network: str, container: str, endpoint: Dict[str, Any]) -> None:
        """Connect a container to one more network."""
        body = {"Container": container, "EndpointConfig": endpoint}
        self._ask("POST", f"/networks/{network}/connect", body)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        self._ask("POST", f"/containers/{container}/rename", name=name)

    def remove(self, container: str, *, volumes: bool = False) -> None:
        """Remove a container that does not run; its anonymous volumes stay unless they are asked for, too."""
        self._ask("DELETE", f"/containers/{container}", v=str(int(volumes)))

    def find_image(self, image: str) -> Optional[Dict[str, Any]]:
        """What Docker knows about an image; None if it is not there."""
        with self._answer("GET", f"/images/{image}/json") as answer:
            if answer.status == 404:
                return None
            found: Dict[str, Any] = read(answer)
            return found

    def commit(self, container: str, name: str, image: Dict[str, Any]) -> str:
        """Make an image of a container's layer, with an image's settings and author. Returns the new image's id."""
        repo, _, tag = name.partition(":")
        names = {"container": container, "repo": repo, "tag": tag, "author": image.get("Author") or ""}
        return str(self._ask("POST", "/commit", image["Config"], patient=True, **names)["Id"])

    def copy_flat(self, container: str) -> str:
        """Make an image of one layer, without settings, of all files that the container sees, less its volumes."""
        with self._answer("GET", f"/containers/{container}/export", patient=True) as files:
            if files.status != 200:
                read(files)
            lines = self._ask("POST", "/images/create", iter(lambda: files.read(CHUNK), b""), patient=True, fromSrc="-")
        return str(lines["status"])

    def _ask(self, method: str, path: str, body: Any = None, *, patient: bool = False, **query: str) -> Any:
        with self._answer(method, path, body, patient=patient, **query) as answer:
            return read(answer)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Any = None, *, patient: bool = False, **query: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = Connection(self._at, None if patient else ANSWER_SECONDS)
        stream = hasattr(body, "__next__")
        data = body if stream or body is None else json.dumps(body)
        kind = {"Content-Type": "application/x-tar" if stream else "application/json"}
        try:
            connection.request(method, f"{path}?{urlencode(query)}", data, kind)
            while patient and not select.select([connection.sock], [], [], LOOK_SECONDS)[0]:
                self._check()
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise AgentError(f"Docker does not answer: {error!r}") from error
        finally:
            connection.close()


def read(answer: http.client.HTTPResponse) -> Any:
    """The answer's JSON; of several lines, as in a progress report, the last. Raises `AgentError` if it is an error."""
    lines: List[bytes] = answer.read().splitlines()
    last = json.loads(lines[-1]) if lines else {}
    if answer.status >= 400 or "error" in last:
        raise AgentError(str(last.get("message") or last.get("error") or f"Docker answered {answer.status}"))
    return last
