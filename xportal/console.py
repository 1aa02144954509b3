"""What the user sees: the story on stderr, the answer on stdout. The only place that imports rich.

Every word passes one of `_tell`, `_write` and `pass_on`, and none of them obeys a control character that it was given:
names, logs and messages come from AWS, from machines and from users.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.status import Status

from xportal.errors import XportalError
from xportal.foreign import TerminalText, printable

if TYPE_CHECKING:
    from xportal.reports import Report


class Console:
    """Renders steps, waits, tables, JSON and errors; plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._story = RichConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._status: Status | None = None
        self._said = ""
        self._passing: dict[int, TerminalText] = {}

    # The story

    def say(self, text: str) -> None:
        """One line of the story."""
        self._tell("", text)

    def warn(self, text: str) -> None:
        """One line that the user should not miss."""
        self._tell("[yellow]warning:[/] ", text)

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
        self._status = self._story.status(_shown(text))
        try:
            with self._status:
                yield
        finally:
            self._status = None

    def update(self, text: str) -> None:
        """The present state of what is waited for; elsewhere than on a terminal, a line each time it changes."""
        if self._status is not None:
            self._status.update(_shown(text))
        elif text != self._said:
            self._tell("[dim]… ", text, "[/]")
        self._said = text

    def billed(self, items: Sequence[str]) -> None:
        """The one line after every command that leaves something billed."""
        if items:
            self._tell("[bold]billed:[/] ", ", ".join(items))

    def error(self, error: XportalError) -> None:
        """`error:` what happened, `hint:` what to do next, `billed:` what still costs money."""
        for line in (*error.details, error.message):
            self._tell("[bold red]error:[/] ", line)
        if error.hint:
            self._tell("[bold cyan]hint:[/]  ", error.hint)
        self.billed(error.billed)

    def _tell(self, before: str, text: str, after: str = "") -> None:
        """A line of the story, `before` and `after` being our own markup.

        Where stderr is gone, as after the terminal's end, the work goes on and is told no more: a save or an undo must
        not break off for want of listeners.
        """
        try:
            self._story.print(f"{before}{_shown(text)}{after}")
        except OSError:
            self._story.quiet = True

    # The answer

    def answer(self, text: str) -> None:
        """One line of plain text on stdout."""
        self._write(printable(text))

    def answer_json(self, answer: Report | Sequence[Report]) -> None:
        """A report, or a list of them, as JSON on stdout."""
        self._write(_json_text(answer, indent=2))

    def answer_json_line(self, answer: Report) -> None:
        """One report of many, as JSON on a line of its own, at once."""
        self._write(_json_text(answer, indent=None))
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on stdout, columns without a value left out; tab-separated, and whole, where it is no terminal."""
        lines = [[printable(cell) for cell in row] for row in [columns, *rows]]
        if not sys.stdout.isatty():
            for line in lines:
                self._write("\t".join(line))
            return
        used = [n for n in range(len(columns)) if n == 0 or any(line[n] for line in lines[1:])]
        lines = [[line[n] for n in used] for line in lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            self._write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def _write(self, line: str) -> None:
        print(line)  # noqa: T201  the one place that answers

    # What others write

    def pass_on(self, stream: int, data: bytes) -> None:
        """Some bytes that a container wrote to its stdout (1) or stderr (2), to ours: as they are to a file or a pipe,
        to a terminal as TerminalText.
        """
        ours = sys.stdout if stream == 1 else sys.stderr
        if ours.isatty():
            data = _encoded(self._passing.setdefault(stream, TerminalText()).feed(data), ours.encoding)
        _write_bytes(ours.buffer, data)

    def end_passing(self) -> None:
        """No more bytes come: show what was held back of a sequence that was cut short."""
        for stream, text in self._passing.items():
            ours = sys.stdout if stream == 1 else sys.stderr
            _write_bytes(ours.buffer, _encoded(text.end(), ours.encoding))


def _shown(text: str) -> str:
    """Without rich's markup, and printable."""
    return escape(printable(text))


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "backslashreplace")


def _write_bytes(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
    stream.flush()


def _json_text(answer: Report | Sequence[Report], indent: int | None) -> str:
    from xportal.reports import as_json

    return json.dumps(as_json(answer), indent=indent, allow_nan=False)  # in ASCII: control characters are escaped
