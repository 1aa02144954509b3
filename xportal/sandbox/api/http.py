"""HTTP on a socket: one thread that accepts, one for each connection."""

from __future__ import annotations

import logging
import threading
from socket import SHUT_RDWR, SO_REUSEADDR, SOL_SOCKET, socket
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket:
    """A listening TCP socket; `port` 0 takes a free one. OSError when the port is taken."""
    listener = socket()
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class Listener:
    """Answers HTTP on a listening socket until `close`. Keeps its own copy of the socket."""

    def __init__(self, listener: socket, application: WSGIApplication) -> None:
        self._server = _Server("127.0.0.1", 0, application, _Handler, fd=listener.fileno())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.closed = False

    def close(self) -> None:
        """Stop answering; connections that clients keep open are cut. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut_connections()


class _Server(ThreadedWSGIServer):
    """Knows its open connections: SDKs keep them, and they would outlive the cloud."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connections: set[Any] = set()
        super().__init__(*args, **kwargs)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Only what is on the same loopback. (Docker may have the kernel route other networks to 127.0.0.1.)"""
        return str(client_address[0]).startswith("127.")

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError as error:
                log.debug("connection was closed already: %s", error)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # as AWS: connections are kept

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 (werkzeug's signature)
        log.debug(message, *args)
