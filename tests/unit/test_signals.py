"""What the program does with signals that it is told to ignore."""

from __future__ import annotations

import signal

import pytest

from xportal.cli import app
from xportal.undo import HELD, Undo


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_hangup(before: signal.Handlers) -> None:
    """With nohup the program outlives its terminal; without, it ends as it does on Ctrl-C."""
    found = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, before)
    try:
        with pytest.raises(SystemExit):
            app.main(["--version"])
        assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == (before is signal.SIG_IGN)
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", HELD)
def test_no_signal_breaks_an_undo_off(number: signal.Signals) -> None:
    """Ctrl-C, an end by the system, and the terminal's end wait until everything is undone."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    done: list[str] = []

    def step() -> None:
        signal.raise_signal(number)
        done.append("lock released")

    def fail() -> None:
        with Undo(done.append) as undo:
            undo.register("lock", step)
            raise ValueError

    try:
        with pytest.raises(KeyboardInterrupt):
            fail()
    finally:
        signal.signal(number, before)
    assert done == ["lock released"]
