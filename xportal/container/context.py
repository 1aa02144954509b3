"""What a build without BuildKit sends: a directory less what its ignore file names, by the rules that Docker has.

Not by those of the docker package: it takes .dockerignore alone, takes a byte order mark for a part of its first
pattern, and sends what lies deep in an ignored directory if a pattern with `!` brings something else there back.
"""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from xportal import local
from xportal.errors import UsageError

IGNORE_FILE = ".dockerignore"


@dataclass(frozen=True)
class Pattern:
    """A line of an ignore file; `brings_back`: it began with `!`."""

    regex: re.Pattern[str]
    brings_back: bool


@dataclass(frozen=True)
class Ignored:
    """An ignore file's patterns, in order: the last that matches a path, or a directory above it, decides."""

    patterns: tuple[Pattern, ...] = ()

    def has(self, path: str) -> bool:
        """Whether a path in the directory, with `/`, is not to be sent."""
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        ignored = False
        for pattern in self.patterns:
            if pattern.brings_back == ignored and any(map(pattern.regex.fullmatch, above)):
                ignored = not pattern.brings_back
        return ignored

    def hides_all_below(self) -> bool:
        """Whether nothing in an ignored directory is to be sent."""
        return not any(pattern.brings_back for pattern in self.patterns)


def find_ignored(directory: Path, dockerfile: Path) -> Ignored:
    """By FILE.dockerignore beside the Dockerfile, or else .dockerignore in the directory; nothing without either.

    Raises UsageError if it makes no sense, LocalFileError.
    """
    for path in (dockerfile.with_name(dockerfile.name + IGNORE_FILE), directory / IGNORE_FILE):
        if path.is_file():
            return parse(_read(path), str(path))
    return Ignored()


def parse(text: str, name: str = IGNORE_FILE) -> Ignored:
    """The patterns in an ignore file's text. Raises UsageError."""
    patterns = []
    for line in text.split("\n"):
        word = "" if line.startswith("#") else line.strip()
        brings_back = word.startswith("!")
        path = word[1:].strip() if brings_back else word
        if path:
            path = posixpath.normpath(re.sub("^/+", "", path) or ".")
            patterns.append(Pattern(_regex(path, f"{name}: {word}"), brings_back))
        elif brings_back:
            raise UsageError(f"{name}: ! without a pattern makes no sense", hint="!PATTERN brings back what it matches")
    return Ignored(tuple(patterns))


def _regex(pattern: str, where: str) -> re.Pattern[str]:
    """`*` and `?` match within a name, `**` any directories, `[...]` one of some characters, after a \\ is itself."""
    text, rest = "", pattern
    while rest:
        if found := re.match(r"\*\*/?", rest):
            text += "(.*/)?" if rest[found.end() :] else ".*"
        elif found := re.match(r"\*", rest):
            text += "[^/]*"
        elif found := re.match(r"\?", rest):
            text += "[^/]"
        elif found := re.match(r"\[(\^?)((?:\\.|[^\]\\])+)\]", rest):
            text += "[" + found[1] + re.sub(r"([\[&|~^])", r"\\\1", found[2]) + "]"
        elif found := re.match(r"\\(.)|[^\[\\]", rest, re.DOTALL):
            text += re.escape(found[1] or found[0])
        else:
            raise UsageError(f"{where} is no pattern", hint="a [ needs its ], and a \\ something after it")
        rest = rest[found.end() :]
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise UsageError(f"{where} is no pattern: {error}", hint="as in [a-z]") from error


def list_sent(directory: Path, ignored: Ignored) -> Iterator[str]:
    """The paths in the directory that are not ignored, directories too."""

    def fail(error: OSError) -> None:
        raise error

    for above, names, files in os.walk(directory, onerror=fail):
        base = os.path.relpath(above, directory)
        paths = {name: posixpath.normpath(posixpath.join(base, name)) for name in (*names, *files)}
        hidden = {name for name, path in paths.items() if ignored.has(path)}
        yield from (path for name, path in paths.items() if name not in hidden)
        if ignored.hides_all_below():
            names[:] = [name for name in names if name not in hidden]


def pack(directory: Path, dockerfile: Path) -> tuple[IO[bytes], str]:
    """An archive of what is to be sent, and the Dockerfile's name in it. Raises UsageError, LocalFileError.

    A Dockerfile that is ignored, or outside, is sent under a name of its own, which Docker is told to take out again.
    """
    from docker.utils import create_archive

    ignored = find_ignored(directory, dockerfile)
    inside = os.path.relpath(dockerfile.resolve(), directory.resolve())
    extra = []
    if inside.startswith("..") or ignored.has(inside):
        inside = f".dockerfile.{secrets.token_hex(8)}"
        kept = directory / IGNORE_FILE
        # Docker takes both out of the context if .dockerignore names them, and goes by that for nothing else.
        is_sent = kept.is_file() and not ignored.has(IGNORE_FILE)
        named = f"{_read(kept)}\n{inside}\n" if is_sent else f"{inside}\n{IGNORE_FILE}\n"
        extra = [(IGNORE_FILE, named), (inside, _read(dockerfile))]
    with local.files(f"what is in {directory}", hint=f"{IGNORE_FILE} names what is not to be sent"):
        files = sorted(list_sent(directory, ignored))
        return cast("IO[bytes]", create_archive(str(directory), files=files, extra_files=extra)), inside


def _read(path: Path) -> str:
    """The text of a file, without a byte order mark."""
    with local.files(str(path)):
        data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", hint="write it as UTF-8") from error
