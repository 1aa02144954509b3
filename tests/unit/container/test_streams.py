"""Docker's multiplexed streams, taken apart."""

from __future__ import annotations

import io
import struct

from xportal.container.streams import STDERR, STDOUT, Output, demultiplex, output_lines
from xportal.reports import LineReport as Line


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def test_frames_are_told_apart() -> None:
    """Each frame keeps its stream; empty ones are nothing."""
    raw = frame(1, b"out") + frame(2, b"") + frame(2, b"err") + frame(1, b"\x00\xff")
    assert list(demultiplex(io.BytesIO(raw))) == [
        Output(STDOUT, b"out"),
        Output(STDERR, b"err"),
        Output(STDOUT, b"\x00\xff"),
    ]


def test_cut_frames_give_what_there_is() -> None:
    """A stream that breaks off in a frame or in a header ends, with the bytes that came."""
    raw = frame(1, b"abcdef")
    assert list(demultiplex(io.BytesIO(raw[:-2]))) == [Output(STDOUT, b"abcd")]
    assert list(demultiplex(io.BytesIO(raw + b"\x01\x00"))) == [Output(STDOUT, b"abcdef")]


def test_lines_are_put_together_by_stream() -> None:
    """Pieces of two streams that cross do not end up in one line; characters cut in two are whole again."""
    pieces = [
        Output(STDOUT, b"on"),
        Output(STDERR, "wä".encode()[:2]),
        Output(STDOUT, b"e\ntwo\n"),
        Output(STDERR, "wä".encode()[2:] + b"rning"),
    ]
    assert list(output_lines(pieces)) == [Line("stdout", "one"), Line("stdout", "two"), Line("stderr", "wärning")]
