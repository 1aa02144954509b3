"""This computer, as far as commands need it: its user's name and home, its files and programs.

What an environment can lack is said here in our words, once for each kind.
"""

from __future__ import annotations

import getpass
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from xportal.errors import LocalFileError, NotInstalled


def user_name() -> str:
    """The user's name, or the number of one without a name (as a container's user may be)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())


def home() -> Path:
    """The user's home directory. Raises LocalFileError where nothing names one."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise LocalFileError("this user has no home directory", hint="HOME=DIR gives them one") from error


def state_dir() -> Path:
    """This user's directory for what xportal keeps, by the XDG base directory specification. Nothing in it has to
    survive.
    """
    return Path(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state") / "xportal"


@contextmanager
def files(what: str, *, hint: str = "") -> Iterator[None]:
    """A block that makes, writes or reads files of this computer; `what`, a sentence's subject, names them.

    Raises LocalFileError.
    """
    try:
        yield
    except OSError as error:
        raise LocalFileError(f"{what}: {reason(error)}", hint=hint) from error


def reason(error: OSError) -> str:
    """What the system says, and of which file."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}: {error.filename}" if isinstance(error.filename, (str, Path)) else said


def open_standard_streams() -> None:
    """Where a shell closed stdin, stdout or stderr, /dev/null takes its place, so that no file of ours does.

    What a stream's encoding does not have is written as an escape, and a terminal of no width has the usual one: rich
    would print nothing.
    """
    for size in ("COLUMNS", "LINES"):
        if os.environ.get(size, "").strip("0") == "":
            os.environ.pop(size, None)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is the one that was closed
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="backslashreplace")


def give_up_unwritten() -> None:
    """At the end: what stdout and stderr cannot take any more (a full disk, a reader that has gone) is dropped."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # the command's end has told of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def started(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """A program of this computer, with our own streams. Raises NotInstalled."""
    try:
        return subprocess.Popen(argv)
    except OSError as error:
        raise _not_to_be_run(argv[0], error) from error


def become(argv: Sequence[str]) -> NoReturn:
    """Replace this process by a program of this computer. Raises NotInstalled."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        os.execvp(argv[0], [*argv])
    except OSError as error:
        raise _not_to_be_run(argv[0], error) from error


def _not_to_be_run(program: str, error: OSError) -> NotInstalled:
    return NotInstalled(
        f"{program} cannot be run on this computer: {error.strerror}", hint=f"install it: {program} is not in PATH"
    )
