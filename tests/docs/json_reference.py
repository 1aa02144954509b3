"""docs/json.md: what each command answers with `--json`, from the classes of `xportal/reports.py`.

`python -m tests.docs.json_reference > docs/json.md` writes it anew.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

from xportal import reports
from xportal.reports import Report

FAULTS = (
    "capacity", "throttle", "error", "lost", "slow", "snapshot-fail", "snapshot-stuck", "snapshot-slow", "role-gone",
    "role-failed", "forbid", "quota", "account", "disk-full", "ssh-drop",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a command answers: a report, or with `many` a list of them."""

    title: str
    report: type[Report]
    many: bool = False
    note: str = ""
    commands: tuple[str, ...] = ()  # those that answer so, if the title is not the command

    @property
    def hint(self) -> Any:
        """Its type. The lines of a log are one by one."""
        return types.GenericAlias(list, self.report) if self.many else self.report


ANSWERS = (
    Answer("up", reports.UpReport),
    Answer("up --dry-run", reports.PlanReport, commands=("up",)),
    Answer("init", reports.InitReport),
    Answer("check", reports.CheckReport, note="If the file is wrong, there is none, and the exit status is 2."),
    Answer("spec", reports.KeptSpecReport),
    Answer("watch", reports.WatchReport, note="It comes when the watch ends."),
    Answer("watch --install", reports.ServiceReport, commands=("watch",)),
    Answer(
        "rehearse", reports.RehearsalReport, note="If `in_time` is false, an error follows, and the exit status is 6."
    ),
    Answer("save", reports.SaveReport),
    Answer("down", reports.DownReport),
    Answer(
        "status",
        reports.PortalReport,
        many=True,
        note="Without a portal, the list has all that have a machine; with one, it has that one, even if it is down.",
    ),
    Answer("ssh-config", reports.SshConfigReport, note="`--refresh` answers nothing."),
    Answer(
        "forward",
        reports.ForwardReport,
        note="Each is a line of its own, each time that the ports lead to a machine; there is no list around them.",
    ),
    Answer("notebook", reports.NotebookReport, note="The same as for `forward`."),
    Answer(
        "run",
        reports.RunReport,
        note="With `--attach` it comes when the container ends; if that was the machine's end, an error follows.",
    ),
    Answer("ps", reports.ContainerReport, many=True),
    Answer("logs", reports.LineReport, note="Each is a line of its own, as it comes; there is no list around them."),
    Answer("exec", reports.ExecReport, note="It comes when the command ends."),
    Answer("start", reports.StartReport, many=True),
    Answer("stop", reports.StopReport, many=True),
    Answer("restart", reports.StartReport, many=True),
    Answer("rm", reports.RemoveReport, many=True),
    Answer("images", reports.ImageReport, many=True, note="The newest comes first."),
    Answer("pull", reports.PullReport),
    Answer("push", reports.PushReport),
    Answer("build", reports.BuildReport),
    Answer("drives", reports.DriveReport, many=True),
    Answer("drives history", reports.CopyReport, many=True, note="The newest comes first."),
    Answer("drives restore", reports.CopyReport, note="The copy, as it is now."),
    Answer("drives prune", reports.PruneReport),
    Answer("drives delete", reports.DeleteReport),
    Answer(
        "sweep",
        reports.DriveLeftReport,
        many=True,
        note="The drives on which something was left to do. Errors of other drives follow on stderr.",
    ),
    Answer("sandbox start", reports.SandboxReport),
    Answer("sandbox stop", reports.SandboxReport),
    Answer("sandbox status", reports.SandboxReport),
    Answer("sandbox reset", reports.ResetReport),
    Answer("sandbox interrupt", reports.InterruptReport),
    Answer("sandbox set", reports.SandboxSettingsReport),
    Answer("sandbox user", reports.SandboxUserReport),
    Answer("sandbox fault KIND", reports.FaultReport, commands=tuple(f"sandbox fault {kind}" for kind in FAULTS)),
    Answer("sandbox fault list", reports.FaultReport, many=True),
    Answer("sandbox fault clear", reports.FaultReport, many=True, note="It is empty: no fault is in force any more."),
)
NO_ANSWER = ("ssh", "schema")  # the stdout of the one is the remote command's, of the other JSON Schema in any case

HEAD = """# What commands answer

With `--json` a command writes JSON to stdout: one object, or a list of objects. Progress, warnings and errors are
text on stderr. A command that fails writes no answer, unless its section says otherwise; its exit status tells why
(README.md). `xportal ssh` has no answer of its own: its stdout is the remote command's, and so it is for `run` and
`exec` with `--tty`. That of `xportal schema` is JSON Schema in any case.

The objects and their fields are the classes of `xportal/reports.py`, which the functions behind the commands return.
All fields of an object are always there. A *time* is text in UTC, as `2026-01-02T03:04:05+00:00`. Prices are in US
dollars an hour. Sizes are in the unit that the field's name ends with, durations in seconds if it ends with none. A
text that is called *in words* is for people, and may be worded anew.

Written by `python -m tests.docs.json_reference`; a test compares it.
"""
PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", datetime: "time"}


def page() -> str:
    """The whole page."""
    sections = [HEAD]
    for answer in ANSWERS:
        what = f"{'A list of ' if answer.many else ''}`{answer.report.__name__}`:"
        text = _line(f"{what} {answer.report.__doc__} {answer.note}")
        first = _anchor(answer.report)
        is_first = _anchored(answer.title) == first
        table = _table(answer.report) if is_first else f"Its fields: see [{answer.report.__name__}]({first}).\n"
        sections.append(f"## {answer.title}\n\n{text}\n\n{table}")
    sections.append("## Parts of answers\n")
    for report in _parts():
        sections.append(f"### {report.__name__}\n\n{_line(report.__doc__ or '')}\n\n{_table(report)}")
    return "\n".join(sections)


def _parts() -> list[type[Report]]:
    """The reports that are in others and are no answers by themselves, each after the first that has it."""
    found = [answer.report for answer in ANSWERS]
    answers = set(found)
    for report in found:  # which grows meanwhile
        for hint in get_type_hints(report).values():
            found += [part for part in _reports_in(hint) if part not in found]
    return [report for report in found if report not in answers]


def _anchor(report: type[Report]) -> str:
    """Where its fields are: under the first command that answers with it, or in a section of its own."""
    titles = [answer.title for answer in ANSWERS if answer.report is report]
    return _anchored(titles[0] if titles else report.__name__)


def _anchored(title: str) -> str:
    return f"#{title.lower().replace(' ', '-')}"


def _reports_in(hint: Any) -> Iterator[type[Report]]:
    if isinstance(hint, type) and issubclass(hint, Report):
        yield hint
    for part in get_args(hint):
        yield from _reports_in(part)


def _table(report: type[Report]) -> str:
    hints, told = get_type_hints(report), meanings(report)
    lines = ["| field | type | |", "|---|---|---|"]
    lines += [f"| `{field.name}` | {type_text(hints[field.name])} | {told[field.name]} |" for field in fields(report)]
    return "\n".join(lines) + "\n"


def meanings(report: type[Report]) -> dict[str, str]:
    """What each field means: the text below it in the source."""
    [tree] = ast.parse(inspect.getsource(report)).body
    assert isinstance(tree, ast.ClassDef)
    told = {}
    for statement, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(text, ast.Expr), f"{report.__name__}.{statement.target.id} says nothing of its meaning"
            told[statement.target.id] = _line(ast.literal_eval(text.value))
    return told


def type_text(hint: Any) -> str:
    """A field's type in words. Raises KeyError for what no answer may contain."""
    arguments = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Report):
        return f"[{hint.__name__}]({_anchor(hint)})"
    if get_origin(hint) in (Union, types.UnionType) and arguments[1:] == (type(None),):
        return f"{type_text(arguments[0])}, or null"
    if get_origin(hint) is tuple and arguments[1:] == (...,):
        return f"list of {type_text(arguments[0])}"
    if get_origin(hint) is Mapping and arguments[0] is str:
        return f"object: {type_text(arguments[1])} by name"
    return PLAIN[hint]


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(page())
