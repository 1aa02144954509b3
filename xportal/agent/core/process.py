"""Running programs and waiting for conditions."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent import futures
from dataclasses import dataclass
from threading import Thread
from typing import Callable, Optional, Sequence, TypeVar

T = TypeVar("T")


class AgentError(Exception):
    """What went wrong, as a sentence for the user."""


@dataclass(frozen=True)
class Done:
    """A program that ended: its exit status (127: it is not installed) and what it printed."""

    status: int
    out: str
    err: str


def run(argv: Sequence[str], *, check: bool = True, timeout: Optional[float] = None, **env: str) -> Done:
    """Run a program to its end. Raises `AgentError` on a non-zero status unless `check` is off, and on a time-out."""
    environ = {**os.environ, "LC_ALL": "C", **env}

    def work() -> Done:
        got = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env=environ,
            cwd="/",
        )
        return Done(got.returncode, got.stdout, got.stderr)

    try:
        done = limited(work, timeout and timeout + 1)  # what hangs in the kernel cannot be killed
    except FileNotFoundError:
        done = Done(127, "", f"{argv[0]} is not installed")
    except subprocess.TimeoutExpired:
        raise AgentError(f"{' '.join(argv)} did not end within {timeout:.0f} s") from None
    if check and done.status:
        said = (done.err.strip() or done.out.strip() or "it said nothing").splitlines()[-1]
        raise AgentError(f"{' '.join(argv)} failed with status {done.status}: {said}")
    return done


def limited(work: Callable[[], T], seconds: Optional[float]) -> T:
    """Do something that may hang in the kernel, where nothing can end it. Raises `AgentError` when it takes longer.

    It hangs on in a thread of its own, for which nobody waits.
    """
    future: futures.Future[T] = futures.Future()

    def try_it() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=try_it, daemon=True).start()
    try:
        return future.result(seconds)
    except futures.TimeoutError:
        raise AgentError(f"it did not end within {seconds:.0f} s") from None


def told_to_end(seconds: float) -> bool:
    """Wait; True if SIGTERM comes meanwhile, as when the machine shuts down."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        return signal.sigtimedwait([signal.SIGTERM], seconds) is not None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_until(condition: Callable[[], Optional[T]], seconds: float, every: float = 0.2) -> Optional[T]:
    """The condition's first true value, or its last false one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(every)
