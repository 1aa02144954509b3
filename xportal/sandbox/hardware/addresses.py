"""Public addresses: each machine has a loopback address of its own, ssh on its port 22."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware.container import SSH_PORT


def free_address(taken: Collection[str]) -> str | None:
    """The first free address of 127.77.0.0/16; None where a program (sshd) listens on port 22 of all addresses."""
    if not _is_free("127.77.255.254"):
        return None
    for address in _candidates():
        if address not in taken and _is_free(address):
            return address
    raise HardwareFailure("no loopback address 127.77.x.y is free", hint="xportal sandbox reset")


def _candidates() -> Iterator[str]:
    for third in range(256):
        for fourth in range(1, 254):
            yield f"127.77.{third}.{fourth}"


def _is_free(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, SSH_PORT))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise HardwareFailure(f"cannot use {address}:{SSH_PORT}: {error}", hint="run as root") from error
    return True
