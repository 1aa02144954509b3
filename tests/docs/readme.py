"""The code in the pages at the top of the clone."""

from __future__ import annotations

from tests.docs.fastai import REPOSITORY

INDENT = "    "


def code_of(page: str, section: str = "") -> str:
    """The indented lines of a page, or of the section with that heading: what a reader types."""
    text = (REPOSITORY / page).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line.removeprefix(INDENT) for line in text.splitlines() if line.startswith(INDENT)]
    assert lines, f"{page} has no code in {section or 'it'}"
    return "\n".join(lines)
