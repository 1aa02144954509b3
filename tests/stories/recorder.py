"""A plain endpoint: passes requests on to another one, counts them, and can stop at any of them."""

from __future__ import annotations

import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "server", "date"}


Watch = Callable[[str, str], bool]
"""Told "before" or "after", and the operation; False: go no further, the asker gets no answer."""


class Recorder(ThreadingHTTPServer):
    """What was asked through it, one line a request. `watch` may be set while it runs."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.lines: list[str] = []
        self.watch: Watch = lambda _when, _operation: True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        """Pass it on, and the answer back."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.lines.append(f"{self.path} {body[:60]!r}")
        operation = urllib.parse.parse_qs(body.decode()).get("Action", [self.headers.get("X-Amz-Target", "")])[0]
        if not self.server.watch("before", operation):
            self.close_connection = True
            return
        request = urllib.request.Request(self.server.target + self.path, body, dict(self.headers))
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            data = answer.read()
            if not self.server.watch("after", operation):
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Date", answer.headers["Date"])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def recording(target: str) -> Iterator[Recorder]:
    """A recorder before `target`."""
    recorder = Recorder(target)
    thread = threading.Thread(target=recorder.serve_forever)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.shutdown()
        thread.join()
        recorder.server_close()
