"""The event log: whole lines, one clock, an end; following it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.events import Log
from xportal.agent.full.follow_log import follow


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(path: Path) -> list[dict[str, Any]]:
    """The log's lines as objects."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def never() -> bool:
    """Nobody writes any more."""
    return False


def always() -> bool:
    """Somebody goes on writing."""
    return True


def test_a_log_opened_again_goes_on_with_its_clock(tmp_path: Path) -> None:
    """`open` and `ready` write one boot log, seconds counted from its first line."""
    clock = Clock()
    Log(tmp_path / "boot.jsonl", clock).say("mount", "Mounting")
    clock.now += 2.5
    Log(tmp_path / "boot.jsonl", clock).end(True, None, {"gpu": None})
    first, last = lines(tmp_path / "boot.jsonl")
    assert first == {"t": 0.0, "step": "mount", "text": "Mounting", "clock": 100.0}
    assert last == {"t": 2.5, "end": True, "ok": True, "error": None, "result": {"gpu": None}}


def test_a_step_that_fails_is_timed_too(tmp_path: Path) -> None:
    """The seconds of a step are known also when it ends in an error."""
    clock = Clock()
    log = Log(tmp_path / "log.jsonl", clock)

    def work() -> None:
        with log.step("sync", "Writing"):
            clock.now += 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert log.seconds == {"sync": 7.0}


def test_following_prints_what_comes_later_and_stops_at_the_end(tmp_path: Path) -> None:
    """A follower that came before the log gets all of it, and ends with it."""
    path = tmp_path / "s.jsonl"
    got: list[str] = []
    follower = threading.Thread(target=lambda: got.extend(follow(path, always, every=0.01)))
    follower.start()
    log = Log(path)
    log.say("a", 'a sentence with "end": true in it')
    log.end(True, None, {})
    follower.join(10)
    assert [json.loads(line).get("step") for line in got] == ["a", None]


def test_following_can_start_at_a_line(tmp_path: Path) -> None:
    """A connection that dropped goes on where it was."""
    log = Log(tmp_path / "s.jsonl")
    for text in ("one", "two", "three"):
        log.say("a", text)
    log.end(True, None, {})
    got = [json.loads(line).get("text") for line in follow(tmp_path / "s.jsonl", always, first=2)]
    assert got == ["three", None]


def test_following_ends_when_the_writer_died(tmp_path: Path) -> None:
    """A log without an end, that nobody writes, is not followed for ever; half a line is never printed."""
    Log(tmp_path / "s.jsonl").say("a", "one")
    with open(tmp_path / "s.jsonl", "a") as file:
        file.write('{"t": 3, "st')
    assert len(list(follow(tmp_path / "s.jsonl", never, every=0.01))) == 1
