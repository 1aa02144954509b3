"""Logging in to a machine that may still be booting: which failures pass by themselves, and for how long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from xportal.errors import KeyRefused, LoginRefused, MachineLost, XportalError
from xportal.remote.fabric_host import FabricHost, close, open_connection
from xportal.remote.host import Login

if TYPE_CHECKING:
    from fabric import Connection

TRY_S = 20.0
# cloud-init writes the authorized key after sshd answers
KEY_MAY_BE_LATE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
# a login takes about a second; who waits longer is told so
SILENT_S = 3.0
LOOK_S = 0.5
# by then most machines have booted: it may be the way there
LATE_S = 60.0


def connect(
    login: Login,
    *,
    deadline: float,
    look: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda _: None,
    key_may_be_late: float = KEY_MAY_BE_LATE_S,
) -> FabricHost:
    """Log in, trying again while the machine boots, until `deadline` (time.monotonic()).

    Raises LoginRefused at once if it answers with another host key, KeyRefused after `key_may_be_late`
    seconds if it refuses our key; MachineLost at the deadline if it does not answer. Tries at least once.
    After each try that failed, and every moment of a try that takes long, it calls `look`, which
    raises what makes it useless to go on. `tell` hears of a machine that has not answered for SILENT_S.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs a traceback for every refused try
    pause = FIRST_PAUSE_S
    refused_since: float | None = None
    began = time.monotonic()

    def watch() -> None:
        if time.monotonic() - began >= SILENT_S:
            tell(told_while_silent(login, time.monotonic() - began, max(0.0, deadline - began)))
            look()

    while True:
        outcome = _Try(login, min(TRY_S, max(1.0, deadline - time.monotonic()))).outcome(watch)
        if not isinstance(outcome, Exception):
            return FabricHost(login, outcome)
        refused_since = (refused_since or time.monotonic()) if _is_refusal(outcome) else None
        give_up = deadline if refused_since is None else min(deadline, refused_since + key_may_be_late)
        if time.monotonic() + pause >= give_up:
            raise _lost(login, outcome) from outcome
        look()
        watch()
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_S, pause * 1.5)


class _Try(threading.Thread):
    """One try to log in, on a thread of its own: nothing ends it in the middle, and nobody has to wait for its end."""

    def __init__(self, login: Login, timeout: float) -> None:
        super().__init__(name="xportal-login", daemon=True)
        self._login = login
        self._timeout = timeout
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_abandoned = False
        self._outcome: Connection | Exception | None = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._end(_try(self._login, timeout=self._timeout))
        except BaseException as error:  # raised where it is waited for
            self._failure = error
            self._end(None)

    def outcome(self, watch: Callable[[], None]) -> Connection | Exception:
        """A connection, or the failure that may pass by itself. Calls `watch` meanwhile, and raises what that does."""
        self.start()
        try:
            while not self._ended.wait(LOOK_S):
                watch()
        except BaseException:
            self._abandon()
            raise
        if self._outcome is None:
            raise self._failure or AssertionError("a try has an outcome or a failure")
        return self._outcome

    def _end(self, outcome: Connection | Exception | None) -> None:
        with self._lock:
            self._outcome = outcome
            self._ended.set()
            self._close_if_abandoned()

    def _abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            self._close_if_abandoned()

    def _close_if_abandoned(self) -> None:
        if self._is_abandoned and self._outcome is not None and not isinstance(self._outcome, Exception):
            close(self._outcome)


def _try(login: Login, *, timeout: float) -> Connection | Exception:
    """A connection, or the failure that may pass by itself."""
    from paramiko import BadHostKeyException, SSHException

    try:
        return open_connection(login, timeout=timeout)
    except BadHostKeyException as error:
        raise _other_key(login) from error
    except SSHException as error:
        if "not found in known_hosts" in str(error):
            raise _other_key(login) from error
        return error
    except (OSError, EOFError) as error:
        return error


def _is_refusal(error: Exception) -> bool:
    from paramiko import AuthenticationException

    return isinstance(error, AuthenticationException)


def _other_key(login: Login) -> LoginRefused:
    return LoginRefused(
        f"the machine at {login.address} answered with another host key than its own; nothing was sent to it",
        hint="the address may belong to somebody else's machine by now: xportal status",
    )


def _lost(login: Login, last: Exception) -> XportalError:
    if _is_refusal(last):
        return KeyRefused(
            f"the machine at {login.address} refuses the key {login.key_file} for {login.user}",
            hint="the key of another launch? xportal status says which machine is the portal's; "
            "one that nobody can log in to saves its drive when it is terminated in AWS's console",
        )
    # what paramiko says when the key exchange has run out of time
    reason = "it took too long" if "No existing session" in str(last) else str(last) or type(last).__name__
    closed = f"; {login.closed}" if login.closed else ""
    return MachineLost(
        f"the machine at {login.address} does not answer ssh: {reason}{closed}",
        hint=f"xportal status says what became of it; {_advice(login)}",
    )


def told_while_silent(login: Login, waited: float, total: float) -> str:
    """What is said while a machine does not answer, in seconds; after the first minute also what to try."""
    waits = f"{login.address} does not answer yet; trying for {total:.0f} s in all"
    return f"{waits}; {_advice(login)}" if waited >= LATE_S else waits


def _advice(login: Login) -> str:
    """What to try where AWS says that the machine is well."""
    if not login.let_in:
        return "tcp/22 must be open to your address"
    return (
        f"ssh is let in from {login.let_in}: if AWS sees another address of this computer (a VPN, a proxy, a pool of "
        "addresses), xportal up --ssh-from CIDR lets that in; a firewall on the way may also forbid port 22"
    )
