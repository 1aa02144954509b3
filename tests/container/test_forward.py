"""The forwarded socket, without Docker: streams on the machine behind a unix socket here."""

from __future__ import annotations

import os
import shlex
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from paramiko import Channel

from xportal.remote import Login
from xportal.remote.fabric_host import open_connection
from xportal.remote.forward import Forward


@contextmanager
def forwarded(login: Login, *argv: str) -> Iterator[Forward]:
    """A forward whose streams are `argv` on the machine; no thread may be left afterwards."""
    connection = open_connection(login, timeout=10)

    def open_stream() -> Channel:
        channel = connection.transport.open_session()
        channel.exec_command(shlex.join(argv))
        return channel

    try:
        with Forward(open_stream) as forward:
            yield forward
        assert not [thread for thread in threading.enumerate() if "carrier" in thread.name or "forward" in thread.name]
        assert not forward.path.parent.exists()
    finally:
        connection.close()


@contextmanager
def dialled(forward: Forward) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(forward.path))
        yield sock


def received(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_only_this_user_may_connect(login: Login) -> None:
    """The socket's directory is closed to others: Docker's socket is root on the machine."""
    with forwarded(login, "cat") as forward:
        assert stat.S_IMODE(forward.path.parent.stat().st_mode) == 0o700


def test_end_of_our_half_is_passed_on(login: Login) -> None:
    """A stream that answers only after the end of its input does answer."""
    data = os.urandom(3_000_000)
    with forwarded(login, "sh", "-c", "cat > /tmp/$$; cat /tmp/$$; rm /tmp/$$") as forward, dialled(forward) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert received(sock) == data


def test_end_of_their_half_is_passed_on(login: Login) -> None:
    """When the stream closes its output, the client sees the end though it has not ended its own half."""
    with forwarded(login, "echo", "hello") as forward, dialled(forward) as sock:
        assert received(sock) == b"hello\n"


def test_their_half_may_end_before_ours(login: Login) -> None:
    """Input still arrives after the stream has closed its output."""
    script = "exec 1>&- 2>&-; exec cat > {}"
    target = login.key_file.with_name("arrived")
    with forwarded(login, "sh", "-c", script.format(shlex.quote(str(target)))) as forward, dialled(forward) as sock:
        assert received(sock) == b""
        sock.sendall(b"late")
        sock.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 10
        while not target.exists() or target.read_bytes() != b"late":
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_streams_are_apart(login: Login) -> None:
    """Several connections at once, each with its own stream, all at their own pace."""
    with forwarded(login, "cat") as forward, dialled(forward) as slow:
        slow.sendall(b"first ")
        for number in range(15):
            with dialled(forward) as sock:
                sock.sendall(str(number).encode())
                sock.shutdown(socket.SHUT_WR)
                assert received(sock) == str(number).encode()
        slow.sendall(b"last")
        slow.shutdown(socket.SHUT_WR)
        assert received(slow) == b"first last"


def test_close_cuts_what_is_open(login: Login) -> None:
    """A forward that is closed ends connections that idle or flow, and waits for nobody."""
    with forwarded(login, "yes") as forward, dialled(forward), dialled(forward) as flowing:
        assert flowing.recv(2) == b"y\n"
        began = time.monotonic()
        forward.close()
        forward.close()
        assert time.monotonic() - began < 5


def test_failing_stream_is_heard(login: Login) -> None:
    """What the stream's command says on stderr is kept before the client sees the end."""
    with forwarded(login, "sh", "-c", "echo no such thing >&2; exit 1") as forward, dialled(forward) as sock:
        assert received(sock) == b""
        assert forward.complaint == "no such thing"


def test_machine_that_goes_away_ends_the_connections(login: Login) -> None:
    """A broken ssh connection is the end of every stream, not a silence."""
    connection = open_connection(login, timeout=10)

    def open_stream() -> Channel:
        channel = connection.transport.open_session()
        channel.exec_command("cat")
        return channel

    with Forward(open_stream) as forward, dialled(forward) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        connection.close()
        assert received(sock) == b""
        with dialled(forward) as again:
            assert received(again) == b""
        assert forward.complaint
