"""README.md and CONTRIBUTING.md: the commands and the files that they name are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from tests.docs.fastai import REPOSITORY
from tests.docs.readme import code_of
from xportal.cli.app import GROUPS, app

PAGES = ("README.md", "CONTRIBUTING.md")
DOCS = tuple((REPOSITORY / "docs").glob("*.md"))
PLACES = r"(?:xportal|tests|docs|dockerfiles|\.ci)/(?!NAME)[^`\s:]*"  # xportal/NAME is an image
FILES = r"[A-Za-z.-]+\.(?:md|toml|yaml|sh|ipynb)"
PATH = re.compile(f"`({PLACES}|{FILES})(?:::\\w+)?`")  # from the top of the clone; a test's name may follow


def lines_of(program: str) -> Iterator[list[str]]:
    """The words behind a program's name, of each line in the pages' code that begins with it."""
    for page in PAGES:
        for line in code_of(page).splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == [program]:
                yield words[1:]


def test_the_program_takes_every_command_line() -> None:
    """Commands and options are known: each line is parsed, and answered with the command's help."""
    lines = list(lines_of("xportal"))
    assert {"up", "push", "run", "down", "start", "reset"} <= {word for words in lines for word in words}
    for words in lines:
        first = next(number for number, word in enumerate(words) if not word.startswith("-"))
        after = first + (2 if words[first] in GROUPS else 1)
        done = CliRunner().invoke(app, [*words[:after], "--help", *words[after:]])
        assert (done.exit_code, "Usage: " in done.output) == (0, True), f"{words}\n{done.output}"


def test_make_has_every_target() -> None:
    """Those that the pages name, and in the list of `make help`."""
    makefile = (REPOSITORY / "Makefile").read_text()
    shown = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    named = {word for words in lines_of("make") for word in words if re.fullmatch("[a-z-]+", word)}
    assert {"demo", "test", "check", "venv", "engine"} <= named <= shown


@pytest.mark.parametrize("page", [*PAGES, *sorted(str(p.relative_to(REPOSITORY)) for p in DOCS)])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    """Paths in backquotes, and the targets of links, which are relative to the page."""
    text = (REPOSITORY / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [path for path in PATH.findall(text) if not list(REPOSITORY.glob(path.rstrip("/")))] == []
    assert [link for link in links if not (REPOSITORY / page).parent.joinpath(link).exists()] == []
