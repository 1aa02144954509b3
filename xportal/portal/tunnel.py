"""Ports of this computer that lead to a portal's machine, and to its next one after an interruption."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xportal import local
from xportal.aws import compute, tags
from xportal.aws.errors import is_transient
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.observe import observe
from xportal.errors import DockerFailed, LoginRefused, MachineLost, Refused, RemoteFailed, UsageError, XportalError
from xportal.portal.access import OpenPortal, open_portal
from xportal.portal.endings import Ending, ending_of
from xportal.portal.find import find_machine
from xportal.progress import Progress
from xportal.remote import Login, ssh_argv

LOOPBACK = "127.0.0.1"
OPEN_SECONDS = 30.0
LOOK_SECONDS = 5.0
END_SECONDS = 5.0
# A machine that lost its power is noticed after fifteen seconds.
_OPTIONS = ("-n", "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=5")


@dataclass(frozen=True)
class Leg:
    """A port of this computer, and where on the machine its connections end."""

    port: int
    to_host: str
    to_port: int

    @property
    def option(self) -> str:
        """As ssh's -L has it: on the loopback alone."""
        return f"{LOOPBACK}:{self.port}:{self.to_host}:{self.to_port}"


def keep_open(
    aws: Aws,
    portal: str,
    legs_on: Callable[[OpenPortal], Sequence[Leg]],
    told: Callable[[Instance, Sequence[Leg]], None],
    progress: Progress,
) -> str:
    """Forward ports until somebody ends the portal; returns how that was, as a clause.

    `legs_on` says for each machine what leads where, `told` is told each time that it is so. What goes wrong before the
    first time is raised. After that only what no waiting cures is raised: a refused login, a port that another program
    has taken, credentials that are not valid any more. It never launches a machine.
    """
    last: Instance | None = None
    while True:
        try:
            if last and (ended := _ended(aws, portal, last)):
                return ended
            with open_portal(aws, portal, progress.update) as opened:
                legs = legs_on(opened)
            with _forwarding(opened.login, legs, aws) as process:
                told(opened.machine, legs)
                last = opened.machine
                process.wait()
            progress.update(f"the connection to {last.id} broke")
        except XportalError as error:
            if last is None or not _may_pass(error):
                raise
            progress.update(f"waiting for the next machine of {portal}, Ctrl-C ends that: {error.message}")
        aws.clock.sleep(LOOK_SECONDS)  # AWS can only be asked again


def free_port(wanted: int) -> int:
    """That port of this computer if nobody has it, else another one."""
    return wanted if _is_free(wanted) else _any_port()


def _may_pass(error: XportalError) -> bool:
    """Whether the portal's next machine, or the network's return, ends it."""
    if isinstance(error, (LoginRefused, UsageError)):
        return False
    return isinstance(error, (MachineLost, Refused, RemoteFailed, DockerFailed)) or is_transient(error)


def _ended(aws: Aws, portal: str, last: Instance) -> str:
    """How somebody ended the portal; nothing while it has a machine, or waits for one after an interruption."""
    if find_machine(aws, portal):
        return ""
    machine = compute.find_instance(aws, last.id) or last
    drives = [observe(aws, drive) for drive in tags.drive_names(machine.tags)]
    return {
        Ending.SOMEBODY: f"somebody ended {machine.id}",
        Ending.ITSELF: f"{machine.id} was shut down from within",
        Ending.INTERRUPTION: "",
    }[ending_of(machine, drives)]


@contextmanager
def _forwarding(login: Login, legs: Sequence[Leg], aws: Aws) -> Iterator[subprocess.Popen[bytes]]:
    """ssh with all legs open. Raises UsageError for a port that somebody has, MachineLost if it ends before that."""
    for leg in legs:
        if not _is_free(leg.port):
            raise UsageError(
                f"port {leg.port} of this computer is in use", hint=f"another one: {_any_port()}:{leg.to_port}"
            )
    options = [*_OPTIONS, *(word for leg in legs for word in ("-L", leg.option))]
    process = local.started(ssh_argv(login, options=options))
    try:
        deadline = aws.clock.monotonic() + OPEN_SECONDS
        while not all(_answers(leg.port) for leg in legs):
            if process.poll() is not None or aws.clock.monotonic() > deadline:
                raise MachineLost(
                    f"ssh to {login.address} opened no port", hint="xportal status says what became of the machine"
                )
            aws.clock.sleep(0.1)  # ssh does not tell
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as ssh does: connections that have ended count not
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError as error:
            raise UsageError(
                f"port {port} of this computer is for root alone", hint="one of 1024 or more, as in 8080:80"
            ) from error
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        return port
