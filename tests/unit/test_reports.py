"""Reports are what answers are made of, and nothing else is."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import xportal.cli
from xportal.aws.records import Snapshot
from xportal.console import Console
from xportal.drive import plan as p
from xportal.portal.reporting import save_seconds
from xportal.reports import DriveLeftReport, LineReport, SaveSecondsReport, SnapshotReport, as_json

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
SNAPSHOT = SnapshotReport("snap-1", "completed", NOON, 50)


class Word(str, Enum):
    """A word of ours."""

    FREE = "free"


@dataclass(frozen=True)
class Facts:
    """A record of ours, which is no report."""

    name: str = "x"


def test_a_report_as_json() -> None:
    """Its fields in their order, those of its parts, lists, and times in UTC wherever they were told."""
    east = SNAPSHOT.started.astimezone(timezone(timedelta(hours=5)))
    told = as_json([DriveLeftReport("demo", replace(SNAPSHOT, started=east)), DriveLeftReport("empty", None)])
    snapshot = {"id": "snap-1", "state": "completed", "started": "2026-01-02T12:00:00+00:00", "size_gib": 50}
    assert told == [{"drive": "demo", "snapshot": snapshot}, {"drive": "empty", "snapshot": None}]
    assert list(told[0]["snapshot"]) == list(snapshot)


@pytest.mark.parametrize(
    "record",
    [Snapshot("snap-1", "vol-1", "completed", NOON, 50), Facts(), Word.FREE, NOON.replace(tzinfo=None), {1}, b""],
)
def test_a_record_is_no_answer(record: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by itself nor in a list, an object or a report: its fields would become a promise."""
    answers: list[Any] = [record, [record], {"a": record}, DriveLeftReport("demo", record)]
    for answer in answers:
        with pytest.raises(TypeError):
            Console().answer_json(answer)
    assert capsys.readouterr().out == ""


def test_an_answer_is_written_by_the_console_alone() -> None:
    """No command makes JSON in another way, which would not be looked at."""
    for path in Path(xportal.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            assert not {"json", "asdict"} & set(names), path


def test_answers_are_json_whatever_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are escaped; a line of many is one line."""
    text = "".join(map(chr, range(160))) + "\u2028\ud800"
    Console().answer_json_line(LineReport("stdout", text))
    line = capsys.readouterr().out
    assert json.loads(line) == {"stream": "stdout", "text": text}
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


def test_what_is_no_number_is_no_json() -> None:
    """JSON has no NaN."""
    with pytest.raises(ValueError, match="JSON"):
        Console().answer_json(SaveSecondsReport(0.0, 0.0, float("nan")))


def test_seconds_are_told_by_what_was_done() -> None:
    """And not by the names of the lifecycle's actions."""
    by_action = {a.__name__: float(n) for n, a in enumerate((p.SaveOnMachine, p.SnapshotVolume, p.Wait, p.Mark), 1)}
    assert save_seconds(by_action, 20.0) == SaveSecondsReport(save=3.0, wait=3.0, total=20.0)
