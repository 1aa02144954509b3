"""The instance metadata service, version 2, as one machine sees it at 169.254.169.254."""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import unquote

from xportal.sandbox.hardware import Metadata
from xportal.sandbox.hardware.imds_tree import find_entry
from xportal.sandbox.hardware.netns import came_by

log = logging.getLogger(__name__)

ADDRESS = "169.254.169.254"
MAX_TTL_S = 21600
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"
_VERSION = re.compile(r"^/(latest|1\.0|20\d\d-\d\d-\d\d)(/|$)")


@dataclass(frozen=True)
class Answer:
    """What goes back; `status` None means silence: the answer did not survive the hops."""

    status: HTTPStatus | None
    body: bytes = b""
    ttl_s: int | None = None


@dataclass
class Imds:
    """The service's rules, apart from sockets. `source` is asked anew for each request.

    `clock` counts seconds and never goes back.
    """

    source: Callable[[], Metadata]
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: dict[str, str], from_machine: bool) -> Answer:
        """Answer one request; `headers` in lower case, `from_machine` false from a container's network."""
        try:
            metadata = self.source()
        except KeyError:
            return Answer(HTTPStatus.NOT_FOUND)
        if metadata.http_endpoint != "enabled":
            return Answer(HTTPStatus.FORBIDDEN)
        path = unquote(path.partition("?")[0])
        if path in ("/latest/api/token", "/latest/api/token/"):
            return self._token(method, headers, reaches=from_machine or metadata.hop_limit > 1)
        if method != "GET":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED)
        if not self._admits(headers.get(_TOKEN_HEADER.lower()), metadata.http_tokens == "required"):
            return Answer(HTTPStatus.UNAUTHORIZED)
        return _look_up(path, metadata)

    def _token(self, method: str, headers: dict[str, str], reaches: bool) -> Answer:
        if method != "PUT":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED)
        if "x-forwarded-for" in headers:
            return Answer(HTTPStatus.FORBIDDEN)
        text = headers.get(_TTL_HEADER.lower(), "")
        if not text.isdecimal() or not 1 <= int(text) <= MAX_TTL_S:
            return Answer(HTTPStatus.BAD_REQUEST)
        if not reaches:
            return Answer(None)
        token = secrets.token_urlsafe(40)
        now = self.clock()
        with self._lock:
            self._tokens = {known: end for known, end in self._tokens.items() if end > now}
            self._tokens[token] = now + int(text)
        return Answer(HTTPStatus.OK, token.encode(), ttl_s=int(text))

    def _admits(self, token: str | None, required: bool) -> bool:
        if token is None:
            return not required
        with self._lock:
            return self._tokens.get(token, 0.0) > self.clock()


def _look_up(path: str, metadata: Metadata) -> Answer:
    if path == "/":
        return Answer(HTTPStatus.OK, b"1.0\n2021-03-23\nlatest")
    version = _VERSION.match(path)
    entry = find_entry(metadata, path[version.end() :]) if version else None
    return Answer(HTTPStatus.NOT_FOUND) if entry is None else Answer(HTTPStatus.OK, entry)


class ImdsServer(ThreadingMixIn, TCPServer):
    """Answers on a listening socket of `open_listener`, from threads of its own, until `close`.

    Connections that come into the machine by the interface `outside` (None: there is none) are cut: 169.254.169.254 is
    an address of each machine's own, and a neighbour who routes it here would read this machine's credentials.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, imds: Imds, listener: socket, outside: int | None = None) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.imds = imds
        self._outside = outside
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 1.0}, name="imds", daemon=True).start()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether it comes from within the machine. An OSError means that it is gone already."""
        if self._outside is None:
            return True
        try:
            return came_by(request) != self._outside
        except OSError as error:
            log.warning("IMDS cannot tell where a connection comes from: %s", error)
            return False

    def close(self) -> None:
        """Stop answering. Idempotent."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    timeout = 60
    server: ImdsServer

    def do_GET(self) -> None:
        self._respond()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 (named by http.server)

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        from_machine = self.client_address[0] == ADDRESS
        answer = self.server.imds.answer(self.command, self.path, headers, from_machine)
        self.close_connection = int(headers.get("content-length", "0")) > 0  # a body nobody reads
        if answer.status is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        if answer.ttl_s is not None:
            self.send_header(_TTL_HEADER, str(answer.ttl_s))
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named by http.server)
        """Say nothing: cloud-init alone asks hundreds of times."""
