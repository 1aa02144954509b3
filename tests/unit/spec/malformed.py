"""The table of malformed specs, `malformed.txt`, and how it is written anew.

Each row is a file's name, its text, and the lines that `xportal check` says of it. `python -m
tests.unit.spec.malformed` prints the table with what is said now: compare before you keep it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from xportal.spec.faults import SpecInvalid
from xportal.spec.reading import read_spec

TABLE = Path(__file__).with_name("malformed.txt")
ENVIRONMENT = {"DEAR": "topsecret", "NAME_WITH_SPACE": "very secret"}
FILE, SAID = "===== ", "=> "


@dataclass(frozen=True)
class Case:
    """A malformed spec."""

    file: str
    text: str
    said: tuple[str, ...]


def cases() -> list[Case]:
    """The rows of the table."""
    found = []
    for block in TABLE.read_text().rstrip("\n").split(f"\n{FILE}")[1:]:
        file, *lines = block.split("\n")
        text = "\n".join(line for line in lines if not line.startswith(SAID))
        found.append(Case(file, text, tuple(line.removeprefix(SAID) for line in lines if line.startswith(SAID))))
    return found


def said_of(case: Case) -> tuple[str, ...]:
    """What is said of it now; nothing if it is right."""
    try:
        read_spec(case.file, case.text.encode(), ENVIRONMENT)
    except SpecInvalid as error:
        return error.details
    return ()


if __name__ == "__main__":
    sys.stdout.write(TABLE.read_text().partition(f"\n{FILE}")[0])
    for one in cases():
        sys.stdout.write("\n".join([f"\n{FILE}{one.file}", one.text, *(f"{SAID}{line}" for line in said_of(one))]))
    sys.stdout.write("\n")
