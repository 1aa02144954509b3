"""The program in processes of its own, many a second: `python -m tests.crash.program SOCKET ENDPOINT`.

Each connection to the socket is one command, run in a fork by the real command line. Its user has the least policy of
the documentation. It differs from what a person starts in three outer ends: clients of AWS made once, before the fork;
the FAKE agent in place of ssh; and a clock that runs FAST times as quick, so that waits do not last.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socketserver
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.crash.machines import Disks, log_in
from tests.crash.steps import Cut, CutAt, Place, Steps, refuse
from tests.user import LEAST, SECRET, make_session
from xportal.aws import session
from xportal.aws.session import Aws
from xportal.cli import main
from xportal.portal import access
from xportal.sandbox import admin

FAST = 50
WARMING = (["up"], ["down"], ["save"], ["sweep"], ["drives", "restore", "x", "snap-0"], ["drives", "delete", "x"])
REGION = "us-east-1"


class Command(socketserver.StreamRequestHandler):
    """One command: a line of JSON in, a line for each step and at last one for its end out."""

    def handle(self) -> None:
        """Run it as a person would have typed it."""
        order = json.loads(self.rfile.readline())
        cut = order.get("cut")
        cut_at = CutAt(Place(cut["operation"], cut["nth"]), Cut(cut["cut"])) if cut else None
        os.environ |= {"HOME": order["home"], "XDG_STATE_HOME": f"{order['home']}/state"}
        os.environ["USER"] = os.environ["LOGNAME"] = Path(order["home"]).name
        watch = Watch(Disks(Path(order["disks"])), self._tell, order["argv"])
        steps = Steps(lambda place: self._tell(step=str(place)), cut_at)
        _before_send[:] = [watch.before_send, steps.before_send]
        access.connect = lambda login, **_: log_in(Path(order["disks"]), login, steps)  # type: ignore[attr-defined,assignment]
        status, said = _run(order["argv"])
        self._tell(status=status, said=said)

    def _tell(self, **what: object) -> None:
        self.wfile.write(f"{json.dumps(what)}\n".encode())


class Watch:
    """I2 at every deletion: what goes is on no machine, and all its records are in another, completed snapshot."""

    def __init__(self, disks: Disks, tell: Callable[..., None], argv: Sequence[str]) -> None:
        self._disks = disks
        self._tell = tell
        self._discards = "--discard" in argv
        self._gives_up = "delete" in argv  # the last copy, too

    def before_send(self, request: Any, event_name: str, **_: Any) -> None:
        """Look at the cloud before a deletion arrives there."""
        operation = event_name.rpartition(".")[2]
        if operation == "DeleteSnapshot" or (operation == "DeleteVolume" and not self._discards):
            asked = parse_qs(_text(request.body))
            problem = self._problem(asked.get("VolumeId", asked.get("SnapshotId", [""]))[0])
            if problem:
                self._tell(problem=problem)

    def _problem(self, copy: str) -> str | None:
        cloud = admin.call(os.environ["AWS_ENDPOINT_URL"], SECRET, "GET", "status")
        if copy not in {record["id"] for record in [*cloud["volumes"], *cloud["snapshots"]]}:
            return None
        if any(copy in machine["volumes"].values() for machine in cloud["instances"]):
            return f"{copy} is deleted while a machine has it"
        there = self._disks.snapshot(copy) if copy.startswith("snap-") else self._disks.volume(copy)
        others = [
            self._disks.snapshot(s["id"]) for s in cloud["snapshots"] if s["state"] == "completed" and s["id"] != copy
        ]
        if self._gives_up:  # the newest copy goes last, also if it is a volume
            others += [self._disks.volume(v["id"]) for v in cloud["volumes"] if v["id"] != copy]
            others += [] if len([*cloud["volumes"], *cloud["snapshots"]]) > 1 else [there]
        if there and not any(other[: len(there)] == there for other in others):
            return f"{copy} is deleted and no completed snapshot has its records"
        return None


def _run(argv: list[str]) -> tuple[object, str]:
    """The real program's exit status, and what it said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            main(argv)
        except SystemExit as end:
            return end.code, said.getvalue()
    raise AssertionError("the program ends with a status")


def _text(body: bytes | str) -> str:
    return body.decode() if isinstance(body, bytes) else body


_before_send: list[Callable[..., Any]] = []


def _emit(**event: Any) -> Any:
    for handler in _before_send:
        answer = handler(**event)
    return answer


@cache
def _aws() -> Aws:
    boto = make_session(REGION, LEAST)
    boto.events.register("before-send", _emit)
    return Aws(boto, REGION)


def _hurry() -> None:
    """A clock that is FAST times as quick, for all who ask for the time to wait."""
    sleep, monotonic = time.sleep, time.monotonic
    time.sleep = lambda seconds: sleep(float(seconds) / FAST)
    time.monotonic = lambda: monotonic() * FAST


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for each connection."""

    request_queue_size = 64
    max_children = 64


def serve(path: str, endpoint: str) -> None:
    """Run commands until the process is ended."""
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    _aws()
    session.connect = lambda **_: _aws()
    _hurry()
    _before_send[:] = [refuse]
    for argv in WARMING:  # modules are loaded before the forks, not in each of them
        _run(argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Server(path, Command) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
