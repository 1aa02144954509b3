"""The sandbox's own metadata service, on this computer's loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xportal.agent.core.imds import Imds
from xportal.sandbox.hardware import Metadata
from xportal.sandbox.hardware import imds as service


@contextmanager
def serve(source: Callable[[], Metadata], clock: Callable[[], float] = time.monotonic) -> Iterator[Imds]:
    """The agent's client of a service that says what `source` does; its tokens age by `clock`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        server = service.ImdsServer(service.Imds(source, clock), listener.dup())
        try:
            yield Imds("127.0.0.1", port)
        finally:
            server.close()
