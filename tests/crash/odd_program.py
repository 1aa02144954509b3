"""The program in an odd environment: `python -m tests.crash.odd_program RESULTS COMMANDS`.

COMMANDS is a JSON list of command lines; each runs in a fork by the real `main`, with the environment, the files and
the user that this process has. RESULTS gets a line of JSON for each: its exit status and what it wrote. The machine is
a FAKE behind the login, whose agent is ready and whose Docker does not answer.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any

from botocore.loaders import JSONFileLoader

from xportal.aws.session import connect
from xportal.cli import main
from xportal.errors import DockerFailed, XportalError
from xportal.portal import access
from xportal.remote import Completed


class QuietHost:
    """FAKE of a Host: an agent that is ready."""

    def run(self, _argv: Sequence[str], **_: Any) -> Completed:
        """The status."""
        return Completed(json.dumps({"phase": "ready", "gpu": None, "drives": [], "containers": []}), "", 0)

    @contextmanager
    def docker(self) -> Iterator[Any]:
        """Docker does not answer."""
        raise DockerFailed("Docker on the machine does not answer")
        yield

    def close(self) -> None:
        """Nothing is open."""


def run(argv: list[str]) -> None:
    """One command, as from a shell."""
    access.connect = lambda *_, **__: QuietHost()  # type: ignore[attr-defined,assignment]
    main(argv)


def warm_up() -> None:
    """What every command would read anew, once for all forks: modules, and the SDK's data files."""
    JSONFileLoader.load_file = cache(JSONFileLoader.load_file)  # type: ignore[method-assign]
    with suppress(XportalError):
        connect(region="us-east-1")
    for module in ("docker", "fabric", "xportal.portal.up", "xportal.watch.watch", "xportal.container"):
        import_module(module)


def run_all(results: int, commands: list[list[str]]) -> None:
    """Each in a fork of its own, its stdout and stderr in a pipe."""
    warm_up()
    for argv in commands:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            for number in (1, 2):
                os.dup2(writer, number)
            os.close(reader)
            run(argv)
        os.close(writer)
        said = b""
        while data := os.read(reader, 1 << 16):
            said += data
        os.close(reader)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        line = json.dumps({"argv": argv, "status": status, "said": said.decode(errors="replace")})
        os.write(results, f"{line}\n".encode())


def lose_name() -> None:
    """FAKE: the user is in no list of users, as in a container that runs with a number."""

    def getpwuid(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = getpwuid


if __name__ == "__main__":
    if "ODD_NAMELESS" in os.environ:
        lose_name()
    if len(sys.argv) == 3:
        run_all(int(sys.argv[1]), json.loads(sys.argv[2]))
    else:
        run(json.loads(sys.argv[1]))
