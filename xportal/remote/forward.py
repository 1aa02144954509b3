"""A unix socket on this computer, each of whose connections is carried to a stream on the machine."""

from __future__ import annotations

import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xportal import local
from xportal.errors import LocalFileError, XportalError
from xportal.remote.channels import CHUNK

if TYPE_CHECKING:
    from paramiko import Channel


class Forward(AbstractContextManager["Forward"]):
    """Listens from `__init__` to `close`, in a directory only this user may enter.

    `open_stream` starts a command on the machine whose stdin and stdout are the stream.
    """

    def __init__(self, open_stream: Callable[[], Channel]) -> None:
        self._open_stream = open_stream
        with local.files("a directory for a socket", hint="TMPDIR=DIR names one that is writable, and short"):
            self._directory = Path(tempfile.mkdtemp(prefix="xportal-"))
        self.path = self._directory / "docker.sock"
        self.complaint = ""  # what the last stream that failed said
        self._carriers: set[_Carrier] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(self.path))
        except OSError as error:  # a path of more than 107 characters, for one
            self._listener.close()
            shutil.rmtree(self._directory)
            raise LocalFileError(
                f"{self.path}: {local.reason(error)}", hint="TMPDIR=DIR, with a shorter path"
            ) from error
        self._listener.listen(16)
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="xportal-forward", daemon=True)
        self._acceptor.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection, wait for every thread, remove the socket. Idempotent."""
        if self._listener.fileno() < 0:
            return
        self._wake.close()
        self._acceptor.join()
        with self._lock:
            carriers = list(self._carriers)
        for carrier in carriers:
            carrier.cut()
        for carrier in carriers:
            carrier.join()
        self._listener.close()
        self._woken.close()
        shutil.rmtree(self._directory)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is self._listener for key, _ in selector.select()):
                local, _ = self._listener.accept()
                carrier = _Carrier(local, self._opened, self._heard, self._ended)
                with self._lock:
                    self._carriers.add(carrier)
                carrier.start()

    def _opened(self) -> Channel | None:
        from paramiko import SSHException

        try:
            return self._open_stream()
        except (SSHException, EOFError, OSError, XportalError) as error:
            self.complaint = str(error)
            return None

    def _heard(self, complaint: str) -> None:
        self.complaint = complaint

    def _ended(self, carrier: _Carrier) -> None:
        with self._lock:
            self._carriers.discard(carrier)


class _Carrier(threading.Thread):
    """Carries one connection both ways; the end of either direction is passed on by itself."""

    def __init__(
        self,
        local: socket.socket,
        open_stream: Callable[[], Channel | None],
        heard: Callable[[str], None],
        ended: Callable[[_Carrier], None],
    ) -> None:
        super().__init__(name="xportal-carrier", daemon=True)
        self._local = local
        self._open_stream = open_stream
        self._heard = heard
        self._ended = ended
        self._channel: Channel | None = None
        self._lock = threading.Lock()
        self._is_cut = False

    def cut(self) -> None:
        """End both directions now, from another thread."""
        with self._lock:
            self._is_cut = True
            channel = self._channel
        if channel is not None:
            channel.close()
        with suppress(OSError):  # the other side was faster
            self._local.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        with self._local:
            channel = self._open_stream()
            if channel is not None and self._adopt(channel):
                self._carry(channel)
        self._ended(self)

    def _adopt(self, channel: Channel) -> bool:
        with self._lock:
            self._channel = channel
            if self._is_cut:
                channel.close()
            return not self._is_cut

    def _carry(self, channel: Channel) -> None:
        up = threading.Thread(target=self._carry_up, args=(channel,), name="xportal-carrier-up", daemon=True)
        up.start()
        self._carry_down(channel)
        with suppress(OSError):  # frees the other direction, if it is not free
            self._local.shutdown(socket.SHUT_RDWR)
        up.join()
        channel.close()

    def _carry_up(self, channel: Channel) -> None:
        """From this computer to the machine; ends when the client ends its half or the stream is gone."""
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        with suppress(OSError, EOFError):  # either side gone: the other direction ends by that too
            while count := self._local.recv_into(buffer):
                channel.sendall(view[:count])
            channel.shutdown_write()

    def _carry_down(self, channel: Channel) -> None:
        """From the machine to this computer, until the stream's command has ended."""
        try:
            while data := channel.recv(CHUNK):
                self._local.sendall(data)
            # told before the client sees the end; one EOF ends both streams, so this does not wait
            if said := channel.makefile_stderr("rb").read().decode(errors="replace").strip():
                self._heard(said)
            self._local.shutdown(socket.SHUT_WR)
        except OSError:
            channel.close()  # the client has gone: nobody reads this any more
        channel.recv_exit_status()  # the command may live on for our half; it ends when that does
