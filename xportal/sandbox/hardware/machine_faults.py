"""What a fault does to a machine: a drive without space, ssh that is cut. Each can be undone, any number of times."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from pathlib import Path

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware.container import SSH_PORT
from xportal.sandbox.hardware.power import find_mount

FILLER = ".xportal-sandbox-full"
_RULE = ["INPUT", "-p", "tcp", "--dport", str(SSH_PORT), "-j", "REJECT", "--reject-with", "tcp-reset"]


def fill(device: Path) -> None:
    """Take all space of the mounted filesystem, root's reserve too, with a file. HardwareFailure if mounted nowhere."""
    root = find_mount(device, root="/")
    if root is None:
        raise HardwareFailure(f"no machine has {device} mounted")
    try:
        # A container can have put a link there, which would lead to a file of this computer.
        try:
            file = os.open(FILLER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=root)
        except OSError as error:
            raise HardwareFailure(f"cannot write {FILLER} on the drive: {error}") from error
        try:
            _take_all(file)
        finally:
            os.close(file)
    finally:
        os.close(root)


def _take_all(file: int) -> None:
    """Allocate the largest piece that there is, and again, down to a single block."""
    space = os.statvfs(file)
    piece = max(space.f_bfree, 1) * space.f_frsize
    while piece >= space.f_frsize:
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise HardwareFailure(f"cannot fill the drive: {error}") from error
            piece //= 2


def empty(device: Path) -> None:
    """Give back what `fill` took; one that is mounted nowhere is left."""
    root = find_mount(device, root="/")
    if root is None:
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(FILLER, dir_fd=root)
    finally:
        os.close(root)


def drop_ssh(pid: int) -> None:
    """Reset the ssh connections of the machine whose init is `pid`, and each new one until `allow_ssh`."""
    if not _is_dropped(pid):
        _run(pid, ["iptables", "-w", "-I", *_RULE])
    # Kernels that cannot destroy sockets leave established ones to the rule: their next packet resets them.
    _run(pid, ["ss", "-K", "state", "established", f"sport = :{SSH_PORT}"])


def allow_ssh(pid: int) -> None:
    """Let ssh connections through again."""
    if _is_dropped(pid):
        _run(pid, ["iptables", "-w", "-D", *_RULE])


def _is_dropped(pid: int) -> bool:
    return _inside(pid, ["iptables", "-w", "-C", *_RULE]).returncode == 0


def _run(pid: int, argv: list[str]) -> None:
    done = _inside(pid, argv)
    if done.returncode != 0:
        raise HardwareFailure(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


def _inside(pid: int, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of this computer in the machine's network."""
    argv = ["nsenter", f"--net=/proc/{pid}/ns/net", *argv]
    return subprocess.run(argv, capture_output=True, text=True, check=False)
