"""Sockets inside a machine: nothing of ours runs there, only our listening sockets are there."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeVar

from xportal.errors import HardwareFailure

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_IP_FREEBIND = 15
_IP_PKTINFO = 8
_IP_PKTOPTIONS = 9
_MESSAGE = struct.Struct("Niii8s")  # a cmsghdr (length, level, type), then in_pktinfo (interface, addresses)


def open_listener(pid: int, address: str, port: int) -> socket.socket:
    """A listening TCP socket in the network namespace of process `pid`. `address` need not be up yet.

    Raises HardwareFailure.
    """
    return _do_inside(pid, lambda: _listener(address, port), f"cannot listen on {address}:{port}")


def get_interface(pid: int, name: str) -> int:
    """The number of a network interface, in the network namespace of process `pid`. Raises HardwareFailure."""
    return _do_inside(pid, lambda: socket.if_nametoindex(name), f"cannot find {name}")


def came_by(connection: socket.socket) -> int:
    """The number of the interface by which a connection to a listener of `open_listener` came into its machine."""
    told = connection.getsockopt(socket.IPPROTO_IP, _IP_PKTOPTIONS, _MESSAGE.size)
    _, level, kind, interface, _ = _MESSAGE.unpack_from(told)
    if (level, kind) != (socket.IPPROTO_IP, _IP_PKTINFO):
        raise OSError(errno.ENOMSG, "the kernel does not say by which interface a connection came")
    return int(interface)


def _do_inside(pid: int, work: Callable[[], T], failure: str) -> T:
    """Work done in another network namespace. It belongs to a thread: a throwaway thread enters it.

    A socket that is made there stays there.
    """
    outcome: list[T | OSError] = []

    def enter_and_work() -> None:
        try:
            _enter(pid)
            outcome.append(work())
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=enter_and_work, name=f"netns-{pid}")
    thread.start()
    thread.join()
    if isinstance(outcome[0], OSError):
        raise HardwareFailure(f"{failure} inside the machine: {outcome[0]}") from outcome[0]
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
        listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)  # for `came_by`
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
