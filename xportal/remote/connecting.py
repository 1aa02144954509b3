"""Logging in to a machine that may still be booting: which failures pass by themselves, and for how long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from xportal.errors import KeyRefused, LoginRefused, MachineLost, XportalError
from xportal.remote.fabric_host import FabricHost, open_connection
from xportal.remote.host import Login

if TYPE_CHECKING:
    from fabric import Connection

TRY_S = 20.0
# cloud-init writes the authorized key after sshd answers
KEY_MAY_BE_LATE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0


def connect(
    login: Login,
    *,
    deadline: float,
    look: Callable[[], None] = lambda: None,
    key_may_be_late: float = KEY_MAY_BE_LATE_S,
) -> FabricHost:
    """Log in, trying again while the machine boots, until `deadline` (time.monotonic()).

    Raises LoginRefused at once if it answers with another host key, KeyRefused after `key_may_be_late`
    seconds if it refuses our key; MachineLost at the deadline if it does not answer. Tries at least once.
    After each try that failed it calls `look`, which raises what makes the next one useless.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs a traceback for every refused try
    pause = FIRST_PAUSE_S
    refused_since: float | None = None
    while True:
        outcome = _try(login, timeout=min(TRY_S, max(1.0, deadline - time.monotonic())))
        if not isinstance(outcome, Exception):
            return FabricHost(login, outcome)
        refused_since = (refused_since or time.monotonic()) if _is_refusal(outcome) else None
        give_up = deadline if refused_since is None else min(deadline, refused_since + key_may_be_late)
        if time.monotonic() + pause >= give_up:
            raise _lost(login, outcome) from outcome
        look()
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_S, pause * 1.5)


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
    return MachineLost(
        f"the machine at {login.address} does not answer ssh: {reason}",
        hint="xportal status says what became of it; tcp/22 must be open to your address",
    )
