"""Undo: registered before the act, run last in first out, not interrupted while it runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Undo:
    """A stack of undo steps; all run unless `keep` was called. A step that fails is told and never stops the others."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._stack = ExitStack()

    def register(self, what: str, step: Callable[[], None]) -> None:
        """Run `step` if what follows fails; `what` names it in the warning when it fails itself."""
        self._stack.callback(self._run, what, step)

    def keep(self) -> None:
        """All went well: forget every step."""
        self._stack.pop_all()

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, *_: object) -> None:
        with signals_deferred():
            self._stack.close()

    def _run(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._warn(f"{what}: {error}; xportal sweep finishes it")


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back; they are delivered when the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in HELD}
    try:
        yield
    finally:
        for deferred, handler in before.items():
            signal.signal(deferred, handler)
        for number in held:
            signal.raise_signal(number)
