"""A person's own ssh on a portal's machine."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from xportal import local
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.errors import KeyRefused, LoginRefused, MachineLost
from xportal.portal.access import log_in, login_for
from xportal.remote import ssh_argv

FAILED = 255  # ssh's own exit status, or the command's
LOOK_SECONDS = 10.0


def run_ssh(
    aws: Aws, machine: Instance, words: Sequence[str], options: Sequence[str], tell: Callable[[str], None]
) -> int:
    """Log in with ssh and the user's `options` for it, or run `words` there; its exit status, 128 and the signal's
    number if one ended it.

    ssh does not tell why it failed: then it is looked whether the machine refuses the login key, which is replaced, and
    ssh is tried once more. Raises MachineLost; KeyRefused if the key cannot be replaced; NotInstalled without an ssh.
    """
    login = login_for(aws, machine, tell)
    before = login.key_file.read_bytes()
    status = _run(ssh_argv(login, words, options=options))
    if status != FAILED:
        return status
    try:
        with closing(log_in(aws, machine, seconds=LOOK_SECONDS, tell=tell)):
            is_replaced = login.key_file.read_bytes() != before
    except KeyRefused:
        raise
    except (MachineLost, LoginRefused):  # ssh has said so in its own words
        return status
    return _run(ssh_argv(login, words, options=options)) if is_replaced else status


def _run(argv: Sequence[str]) -> int:
    with local.started(argv) as process, _signals_for(process):
        status = process.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The terminal's signals reach ssh by themselves; what is sent to this process alone is passed on."""
    passed = {
        number: signal.signal(number, lambda told, _: process.send_signal(told))
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    left = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in {**passed, **left}.items():
            signal.signal(number, handler)
