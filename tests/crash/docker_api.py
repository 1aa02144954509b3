"""FAKE of a Docker Engine that has one image and one container that ended well: its API, as Docker documents it."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ID, IMAGE_ID = "c" * 64, f"sha256:{'1' * 64}"
IMAGE = {
    "Id": IMAGE_ID,
    "RepoTags": ["img:latest"],
    "RootFS": {"Layers": ["sha256:a", "sha256:b"]},
    "Size": 10_000_000,
    "Architecture": "amd64",
}
CONTAINER = {
    "Id": ID,
    "Name": "/train",
    "Image": IMAGE_ID,
    "Config": {"Image": "img", "Tty": False},
    "State": {"Running": True, "Status": "running"},
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
        "DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}],
    },
    "NetworkSettings": {"Ports": {}},
}


def frame(stream: int, text: bytes) -> bytes:
    """Some output, as Docker multiplexes it."""
    return struct.pack(">BxxxL", stream, len(text)) + text


OUTPUT = frame(1, b"epoch 1\nepoch \x7f\n") + frame(2, b"warning\n")
ANSWERS: list[tuple[str, Any]] = [
    ("GET /version", {"ApiVersion": "1.43"}),
    ("GET /info", {"Architecture": "x86_64", "SystemTime": "2026-01-02T03:04:05.123456789Z"}),
    ("GET /containers/json", [{"Id": ID, "Status": "Up 3 minutes", "State": "running"}]),
    ("GET /containers/[^/]+/json", CONTAINER),
    ("GET /containers/[^/]+/logs", OUTPUT),
    ("POST /containers/create", {"Id": ID, "Warnings": []}),
    ("POST /containers/[^/]+/attach", OUTPUT),
    ("POST /containers/[^/]+/wait", {"StatusCode": 0}),
    ("POST /containers/[^/]+/exec", {"Id": "e" * 64}),
    ("POST /exec/[^/]+/start", OUTPUT),
    ("GET /exec/[^/]+/json", {"ExitCode": 0}),
    ("POST /containers/[^/]+/(start|stop|restart)", b""),
    ("GET /images/json", [{"Id": IMAGE_ID, "RepoTags": ["img:latest"], "Created": 1767323045, "Size": 10_000_000}]),
    ("POST /images/create", {"id": "1234", "status": "Pull complete"}),
    ("DELETE /containers/[^/]+", b""),
    ("GET /images/.+/json", IMAGE),
    ("POST /images/.+/tag", b""),
    ("POST /build", {"aux": {"ID": IMAGE_ID}}),
]


class _Handler(BaseHTTPRequestHandler):
    """Each answer ends with the connection."""

    def do(self) -> None:
        """Answer what ANSWERS has, and 404 to everything else."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        asked = f"{self.command} {re.sub(r'^/v[0-9.]+(?=/)', '', self.path.partition('?')[0])}"
        found = [answer for pattern, answer in ANSWERS if re.fullmatch(pattern, asked)]
        body: Any = found[0] if found else {"message": f"no {asked}"}
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    do_GET = do_POST = do_DELETE = do  # noqa: N815  the names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """Its URL, for DOCKER_HOST."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
