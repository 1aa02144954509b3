"""What containers write: Docker's multiplexed streams taken apart, and stdin carried in."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from xportal.reports import LineReport

if TYPE_CHECKING:
    from requests import Response

STDOUT, STDERR = 1, 2
_HEADER = struct.Struct(">BxxxL")  # Engine API, "Attach to a container": stream, three zeros, length


@dataclass(frozen=True)
class Output:
    """Some bytes that a container wrote, and where (STDOUT or STDERR)."""

    stream: int
    data: bytes


class Readable(Protocol):
    """A binary stream; `read1` gives what there is, `read` waits for as much as asked."""

    def read(self, amt: int, /) -> bytes: ...
    def read1(self, amt: int, /) -> bytes: ...


def outputs(response: Response, *, tty: bool) -> Iterator[Output]:
    """A container's output as it comes, until it ends; a container with a terminal has stdout alone.

    Closes the response.
    """
    with response:
        yield from (_plain(response.raw) if tty else demultiplex(response.raw))


def output_lines(pieces: Iterable[Output]) -> Iterator[LineReport]:
    """Outputs put together to lines, each of one stream, in the order of their ends."""
    begun: dict[int, bytes] = {}
    for piece in pieces:
        *whole, begun[piece.stream] = (begun.get(piece.stream, b"") + piece.data).split(b"\n")
        yield from (_line(piece.stream, data) for data in whole)
    yield from (_line(stream, data) for stream, data in begun.items() if data)


def _line(stream: int, data: bytes) -> LineReport:
    return LineReport("stderr" if stream == STDERR else "stdout", data.decode(errors="replace"))


def demultiplex(raw: Readable) -> Iterator[Output]:
    """Docker's frames; a frame that is cut short is given as far as it goes."""
    while len(header := raw.read(_HEADER.size)) == _HEADER.size:
        stream, length = _HEADER.unpack(header)
        if data := raw.read(length):
            yield Output(STDERR if stream == STDERR else STDOUT, data)


def _plain(raw: Readable) -> Iterator[Output]:
    while data := raw.read1(1 << 16):
        yield Output(STDOUT, data)


@contextmanager
def stdin_carried(response: Response, stdin: BinaryIO | None) -> Iterator[None]:
    """Copy a file of this process, if any, to the connection under `response`, beside the `with` body.

    The end of the file ends the container's stdin; the end of the body ends the copying.
    """
    if stdin is None:
        yield
        return
    wake, woken = socket.socketpair()
    # requests hands out no socket, but its descriptor: a second one to write to, closed by us
    with wake, woken, socket.socket(fileno=os.dup(response.raw.fileno())) as sink:
        thread = threading.Thread(target=_copy, args=(stdin.fileno(), sink, woken), name="xportal-stdin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            wake.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):  # frees a copy that waits for a reader; ended already if the container did
                sink.shutdown(socket.SHUT_WR)
            thread.join()


def _copy(source: int, sink: socket.socket, woken: socket.socket) -> None:
    with suppress(OSError):  # the container does not read any more
        while woken.fileno() not in select.select([source, woken.fileno()], [], [])[0]:
            data = os.read(source, 1 << 16)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
