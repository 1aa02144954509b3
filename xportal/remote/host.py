"""The seam to a machine: what the rest of xportal may ask of it, whatever carries it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Login:
    """Where a machine is, who logs in, and the one host key it may answer with ("ssh-ed25519 AAAA…")."""

    address: str
    user: str
    key_file: Path
    host_key: str
    port: int = 22
    let_in: str = ""  # the CIDR from which tcp/22 is open for this computer
    closed: str = ""  # why tcp/22 may not be open to this computer, if something is known


@dataclass(frozen=True)
class Completed:
    """A command that ended: what it wrote, and its exit status (-1 if a signal ended it)."""

    stdout: str
    stderr: str
    status: int


class Host(Protocol):
    """A machine one is logged in to. Not for use by several threads at once."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,  # noqa: A002 (its name in subprocess)
        timeout: float | None = None,
        check: bool = True,
    ) -> Completed:
        """Run a command to its end. `timeout` is in seconds.

        Raises RemoteFailed if it ends with a status other than 0 (unless `check` is False)
        or not in time, MachineLost if the connection breaks.
        """
        ...

    def lines(self, argv: Sequence[str], *, timeout: float | None = None) -> Iterator[str]:
        """What a command writes to its stdout, line by line as it comes, without line ends.

        `timeout` is the longest silence in seconds. Raises like `run`, after the last line.
        Closing the iterator early ends the command's connection, not the command.
        """
        ...

    def put(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file whole or not at all, as the login user. Raises like `run`."""
        ...

    def docker(self) -> AbstractContextManager[DockerClient]:
        """The machine's Docker, over this connection. Raises DockerFailed if it does not answer."""
        ...

    def close(self) -> None:
        """End the connection. Idempotent."""
        ...
