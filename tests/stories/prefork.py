"""Commands in processes forked from one that has imported the program: to import it takes more processor time than most
commands do. All else of such a process is its own: arguments, environment, directory, streams, signals, and its end.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import botocore.session
import typer.main
from botocore.loaders import create_loader

from xportal.aws.session import connect
from xportal.cli.app import app, main

LONGEST = 1 << 16  # bytes of a request
PACKAGES = ("aws", "cli", "container", "drive", "machine", "portal", "remote", "watch")


class Prefork:
    """The process from which others are forked, as seen from here."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._socket = f"{self._directory.name}/socket"
        argv = [sys.executable, "-m", __name__, self._socket]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._process.stdout.readline()  # it listens

    def run(
        self, words: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: bytes | None, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """`xportal WORDS`, as subprocess.run would run it. Raises TimeoutExpired, when it has killed the command."""
        argv = ["xportal", *words]
        request = json.dumps({"argv": argv, "env": dict(env), "cwd": str(cwd)}).encode()
        with contextlib.ExitStack() as files:
            streams = [files.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            streams[0].write(stdin or b"")
            streams[0].seek(0)
            connection = files.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(self._socket)
            socket.send_fds(connection, [request], [stream.fileno() for stream in streams])
            answers = files.enter_context(connection.makefile())
            pid = int(answers.readline())
            connection.settimeout(timeout)
            try:
                status = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout) from None
            for stream in streams[1:]:
                stream.seek(0)
            out, err = (stream.read() for stream in streams[1:])
        return subprocess.CompletedProcess(argv, status, out, err)

    def end(self) -> None:
        """No command is run any more."""
        self._process.terminate()
        self._process.communicate()
        self._directory.cleanup()


@functools.cache
def prefork() -> Prefork:
    """The one of this process, started when it is first needed."""
    return Prefork()


def end() -> None:
    """End it, if it was started."""
    if prefork.cache_info().currsize:
        prefork().end()
        prefork.cache_clear()


class Command(socketserver.BaseRequestHandler):
    """One command: what to run and its three streams in, its pid and at last its exit status out."""

    def handle(self) -> None:
        """In a fork of the server's; the command is a fork of that, which may also become another program."""
        request, streams, _, _ = socket.recv_fds(self.request, LONGEST, 3)
        pid = os.fork()
        if not pid:
            self.request.close()
            os._exit(_run(json.loads(request), streams))
        self.request.sendall(f"{pid}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            self.request.sendall(f"{status}\n".encode())


def _run(told: dict[str, Any], streams: Sequence[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = told["argv"]
    os.environ.clear()
    os.environ.update(told["env"])
    os.chdir(told["cwd"])
    try:
        main()
    except SystemExit as end_:
        return int(end_.code or 0)
    raise AssertionError("the program ends with a status")


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for each connection."""


def import_all() -> None:
    """What commands import, those imports included that they make only when they are needed; and the SDK's data."""
    for name in PACKAGES:
        package = importlib.import_module(f"xportal.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in ("docker", "fabric"):
        importlib.import_module(name)
    botocore.session.create_loader = functools.cache(
        create_loader
    )  # one for all sessions, which keeps what it has read
    typer.main.get_command = functools.cache(typer.main.get_command)  # the commands and their options, worked out once
    os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}  # here; each command has its own
    connect(region="us-east-1")
    with contextlib.suppress(typer.BadParameter):  # typer imports the rest when it first parses
        app(["up", "--size", "none"], standalone_mode=False)
    gc.collect()
    gc.freeze()  # else a collection in a fork would copy every page that it looks at


if __name__ == "__main__":
    import_all()
    with Server(sys.argv[1], Command) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()
