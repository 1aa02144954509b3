"""Running programs and waiting for conditions."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
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
    try:
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
        done = Done(got.returncode, got.stdout, got.stderr)
    except FileNotFoundError:
        done = Done(127, "", f"{argv[0]} is not installed")
    except subprocess.TimeoutExpired:
        raise AgentError(f"{' '.join(argv)} did not end within {timeout:.0f} s") from None
    if check and done.status:
        said = (done.err.strip() or done.out.strip() or "it said nothing").splitlines()[-1]
        raise AgentError(f"{' '.join(argv)} failed with status {done.status}: {said}")
    return done


def wait_until(condition: Callable[[], Optional[T]], seconds: float, every: float = 0.2) -> Optional[T]:
    """The condition's first true value, or its last false one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(every)
