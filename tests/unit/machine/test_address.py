"""The address from which the cloud sees this computer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from xportal.errors import Unreachable
from xportal.machine.access import ask_address, caller_cidr


class Telling(BaseHTTPRequestHandler):
    """As AWS's service answers."""

    def do_GET(self) -> None:
        """An address."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"203.0.113.9\n")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """The URL of a service that tells an address."""
    with HTTPServer(("127.0.0.1", 0), Telling) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_no_proxy_is_asked_for_the_address(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ssh goes past it: the address that a proxy has would open the door to others."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    assert ask_address(service) == "203.0.113.9/32"


def test_where_nobody_tells_it_can_be_said() -> None:
    """By an option."""
    with pytest.raises(Unreachable) as caught:
        ask_address("http://127.0.0.1:9")
    assert "--ssh-from CIDR" in caught.value.hint


def test_on_the_loopback_nobody_is_asked() -> None:
    """The sandbox's machines are there."""
    assert caller_cidr("http://127.0.0.1:5577") == "127.0.0.1/32"
