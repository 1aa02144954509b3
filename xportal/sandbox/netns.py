"""Sockets inside a machine: nothing of ours runs there, only our listening sockets are there."""

from __future__ import annotations

import ctypes
import os
import socket
import threading

from xportal.errors import HardwareFailure

_CLONE_NEWNET = 0x40000000
_IP_FREEBIND = 15


def open_listener(pid: int, address: str, port: int) -> socket.socket:
    """A listening TCP socket in the network namespace of process `pid`. `address` need not be up yet.

    The namespace belongs to a thread: a throwaway thread enters it, and the socket stays there.
    Raises HardwareFailure.
    """
    outcome: list[socket.socket | OSError] = []

    def enter_and_listen() -> None:
        try:
            _enter(pid)
            outcome.append(_listener(address, port))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=enter_and_listen, name=f"netns-{pid}")
    thread.start()
    thread.join()
    if isinstance(outcome[0], OSError):
        raise HardwareFailure(f"cannot listen on {address}:{port} inside the machine: {outcome[0]}") from outcome[0]
    return outcome[0]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
