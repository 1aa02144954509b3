"""docs/json.md says what the reports are, and has every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
import typer

from tests.docs.fastai import REPOSITORY
from tests.docs.json_reference import ANSWERS, NO_ANSWER, meanings, page, type_text
from xportal.cli.app import app
from xportal.reports import Report


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    """Every command of the program, as it is typed; of a group itself if it answers without a word behind it."""
    for name, command in group.commands.items():
        words = f"{before}{name}"
        if not hasattr(command, "commands"):
            yield words
            continue
        if command.invoke_without_command:
            yield words
        yield from commands_of(command, f"{words} ")


def test_the_page_is_what_the_reports_are() -> None:
    """docs/json.md is made of their classes."""
    written = (REPOSITORY / "docs" / "json.md").read_text()
    assert written == page(), "python -m tests.docs.json_reference > docs/json.md"


def test_every_command_is_on_the_page() -> None:
    """Each has its answer, or is named as one that has none; and no other is there."""
    told = [command for answer in ANSWERS for command in answer.commands or (answer.title,)]
    assert {*told, *NO_ANSWER} == set(commands_of(typer.main.get_command(app)))


@pytest.mark.parametrize("report", Report.__subclasses__(), ids=lambda report: report.__name__)
def test_every_field_has_its_meaning(report: type[Report]) -> None:
    """A report is a frozen class of its own fields, each of a type that JSON can tell and with a text of its own; and a
    field holds no class that is not a report.
    """
    assert report.__dict__["__dataclass_params__"].frozen
    assert "report" in report.__name__.lower()
    assert set(meanings(report)) == {field.name for field in fields(report)}
    assert all(map(type_text, get_type_hints(report).values()))


def test_every_report_is_in_some_answer() -> None:
    """A class that nothing answers with is no report."""
    told = set(re.findall(r"^(?:### |A list of `|`)(\w+Report)`?(?::|$)", page(), flags=re.MULTILINE))
    assert told == {report.__name__ for report in Report.__subclasses__()}


def test_every_link_has_its_section() -> None:
    """As GitHub makes anchors of titles."""
    titles = re.findall(r"^##+ (.*)$", page(), flags=re.MULTILINE)
    links = set(re.findall(r"\]\((#[^)]*)\)", page()))
    assert links
    assert links <= {f"#{title.lower().replace(' ', '-')}" for title in titles}
