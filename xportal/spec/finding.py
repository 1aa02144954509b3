"""Which file `xportal up` goes by. Reads no file, and imports nothing that takes time."""

from __future__ import annotations

from pathlib import Path

from xportal.errors import UsageError
from xportal.spec.model import DEFAULT_PORTAL, check_name

ENDINGS = (".yaml", ".yml", ".json")
STEM = "portal"  # of the file that is used where no name is given


def is_file(word: str) -> bool:
    """Whether a word of the command line is a spec's file, and no portal's name."""
    return "/" in word or word.endswith(ENDINGS)


def find_file(word: str | None, directory: Path = Path()) -> Path | None:
    """The file that `up WORD` goes by: WORD itself, or WORD.yaml, WORD.yml or WORD.json; without a word it is
    portal.yaml and so on. None if there is no such file. Raises UsageError if there are several.
    """
    if word is not None and is_file(word):
        return directory / word
    there = [path for ending in ENDINGS if (path := directory / f"{word or STEM}{ending}").is_file()]
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        raise UsageError(f"there are {names}: which one is meant?", hint=f"name it: xportal up {there[0].name}")
    return there[0] if there else None


def portal_name(word: str | None, file: Path | None, told: str | None) -> str:
    """The portal's name: that of the command line, else of the spec (`told`), else of its file. Raises UsageError."""
    if word is not None and not is_file(word):
        return check_name("portal", word)
    if told is not None:
        return told
    if file is None or file.stem == STEM:
        return DEFAULT_PORTAL
    return check_name("portal", file.stem)
