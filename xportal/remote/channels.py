"""Commands over an SSH transport: argv in, stdout, stderr and the exit status out."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from xportal.errors import MachineLost, RemoteFailed
from xportal.remote.host import Completed

if TYPE_CHECKING:
    from paramiko import Channel, Transport

CHUNK = 128 << 10
# what the machine may send before it waits for us: 2 MiB, paramiko's own, is 20 MB/s at 100 ms
WINDOW = 16 << 20
TIMED_OUT = 124  # the status of coreutils' timeout(1)


class Command(AbstractContextManager["Command"]):
    """One command on the machine, running until the `with` ends. No shell string is ever built but by shlex."""

    def __init__(self, transport: Transport, argv: Sequence[str], *, address: str) -> None:
        self.address = address
        self._name = f'"{shlex.join(argv)}"'
        self._transport = transport
        self._errors: list[bytes] = []
        self._feeder: threading.Thread | None = None
        with self._lost_if_broken():
            self._channel: Channel = transport.open_session(window_size=WINDOW)
            self._channel.exec_command(shlex.join(argv))
        # both streams share one window: left unread, stderr would stop stdout
        self._drain = threading.Thread(target=self._read_errors, name="xportal-stderr", daemon=True)
        self._drain.start()

    def __exit__(self, *exc: object) -> None:
        self._channel.close()
        self._drain.join()
        if self._feeder is not None:
            self._feeder.join()

    def feed(self, data: bytes) -> None:
        """Write `data` to the command's stdin and end it, beside whoever reads its output."""
        if data:
            self._feeder = threading.Thread(target=self._write_input, args=(data,), name="xportal-stdin", daemon=True)
            self._feeder.start()
        else:
            self._channel.shutdown_write()

    def chunks(self, *, deadline: float | None = None, silence: float | None = None) -> Iterator[bytes]:
        """What it writes to stdout, as it comes; RemoteFailed after `deadline` (monotonic) or so long a silence."""
        while data := self._receive(_seconds_left(deadline, silence)):
            yield data

    def wait(self, *, deadline: float | None = None) -> int:
        """Its exit status, -1 if a signal ended it, after stdout has ended. Raises MachineLost or RemoteFailed."""
        if not self._channel.status_event.wait(_seconds_left(deadline, None)):
            raise self._timed_out()
        status: int = self._channel.recv_exit_status()
        if status == -1 and not self._transport.is_active():
            raise lost(self.address)
        return status

    def stderr(self) -> str:
        """All it wrote to stderr; waits for the end of it."""
        self._drain.join()
        return b"".join(self._errors).decode(errors="replace")

    def failure(self, status: int) -> RemoteFailed:
        """The error for an exit status other than 0, with the last line of the command's stderr."""
        how = "was killed" if status == -1 else f"ended with status {status}"
        said = self.stderr().strip().splitlines()
        return RemoteFailed(": ".join([f"{self._name} on {self.address} {how}", *said[-1:]]), status=status)

    def _receive(self, seconds: float | None) -> bytes:
        self._channel.settimeout(seconds)
        try:
            data: bytes = self._channel.recv(CHUNK)
        except TimeoutError:
            raise self._timed_out() from None
        return data

    def _timed_out(self) -> RemoteFailed:
        return RemoteFailed(f"{self._name} on {self.address} did not answer in time", status=TIMED_OUT)

    def _read_errors(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(CHUNK)
            except TimeoutError:
                continue  # the channel has one timeout for both streams; stdout's reader acts on it
            if not data:
                return
            self._errors.append(data)

    def _write_input(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            for start in range(0, len(view), CHUNK):
                self._channel.sendall(view[start : start + CHUNK])
            self._channel.shutdown_write()
        except OSError:
            return  # the command ended without reading all of it: its status tells whether that is an error

    @contextmanager
    def _lost_if_broken(self) -> Iterator[None]:
        from paramiko import SSHException

        try:
            yield
        except (SSHException, EOFError, OSError) as error:
            raise lost(self.address) from error


def run(command: Command, *, stdin: bytes, timeout: float | None) -> Completed:
    """See a command through to its end."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with command:
        command.feed(stdin)
        stdout = b"".join(command.chunks(deadline=deadline))
        status = command.wait(deadline=deadline)
        return Completed(stdout.decode(errors="replace"), command.stderr(), status)


def lines(command: Command, *, silence: float | None) -> Iterator[str]:
    """A command's stdout by lines; RemoteFailed after the last one if its status is not 0."""
    rest = b""
    with command:
        command.feed(b"")
        for chunk in command.chunks(silence=silence):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")
        status = command.wait()
        if status != 0:
            raise command.failure(status)


def lost(address: str) -> MachineLost:
    """The connection broke."""
    hint = "xportal status says what became of it"
    return MachineLost(f"the connection to the machine at {address} broke", hint=hint)


def _seconds_left(deadline: float | None, silence: float | None) -> float | None:
    if deadline is None:
        return silence
    left = max(0.0, deadline - time.monotonic())
    return left if silence is None else min(left, silence)
