"""What the user sees: the story on stderr, the answer on stdout. The only place that imports rich."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from xportal.errors import XportalError


class Console:
    """Renders steps, waits, tables, JSON and errors; plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._story = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._said = ""

    # The story

    def say(self, text: str) -> None:
        """One line of the story."""
        self._story.print(Text(text))

    def warn(self, text: str) -> None:
        """One line that the user should not miss."""
        self._story.print(f"[yellow]warning:[/] {escape(text)}")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner on a terminal, one plain line elsewhere; `update` changes its text."""
        if not sys.stderr.isatty():  # rich also takes FORCE_COLOR, which Jupyter sets, for a terminal
            self.update(text)
            yield
            return
        if self._status is not None:  # nested: rich draws one live line at a time
            self.update(text)
            yield
            return
        self._status = self._story.status(escape(text))
        try:
            with self._status:
                yield
        finally:
            self._status = None

    def update(self, text: str) -> None:
        """The present state of what is waited for; elsewhere than on a terminal, a line each time it changes."""
        if self._status is not None:
            self._status.update(escape(text))
        elif text != self._said:
            self._story.print(f"[dim]… {escape(text)}[/]")
        self._said = text

    def billed(self, items: Sequence[str]) -> None:
        """The one line after every command that leaves something billed."""
        if items:
            self._story.print(f"[bold]billed:[/] {escape(', '.join(items))}")

    def error(self, error: XportalError) -> None:
        """`error:` what happened, `hint:` what to do next, `billed:` what still costs money."""
        self._story.print(f"[bold red]error:[/] {escape(_one_line(error.message))}")
        if error.hint:
            self._story.print(f"[bold cyan]hint:[/]  {escape(_one_line(error.hint))}")
        self.billed(error.billed)

    # The answer

    def answer(self, text: str) -> None:
        """Plain text on stdout."""
        print(text)  # noqa: T201  the one place that answers

    def answer_json(self, value: Any) -> None:
        """`value` as JSON on stdout; dates as ISO 8601."""
        json.dump(value, sys.stdout, indent=2, default=_to_json)
        sys.stdout.write("\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on stdout, columns without a value left out; tab-separated, and whole, where it is no terminal."""
        if not sys.stdout.isatty():
            for row in [columns, *rows]:
                self.answer("\t".join(row))
            return
        used = [n for n in range(len(columns)) if n == 0 or any(row[n] for row in rows)]
        lines = [[row[n] for n in used] for row in [columns, *rows]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            self.answer("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _one_line(text: str) -> str:
    """Control characters shown, not obeyed: names in messages come from users and from AWS."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _to_json(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
