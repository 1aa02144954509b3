"""`agent watch`: a process that looks every few seconds for AWS's notice, and for what else ends a machine."""

from __future__ import annotations

import time
from typing import Callable, Optional

from .config import Paths
from .extensions import Extensions
from .imds import Imds
from .notices import Notice, find_notice
from .process import AgentError, run
from .save_requests import Request, request_save

EVERY = 3.0
WALL_SECONDS = 5.0  # a terminal that nobody reads may hold it up
LONGEST_WAIT = 15.0  # where the metadata service is busy or silent: a notice leaves two minutes


def watch(paths: Paths, more: Extensions) -> None:
    """Look until the machine goes."""
    watcher = Watcher(paths, Imds(), more)
    wait, said = EVERY, ""
    while True:
        try:
            watcher.look()
            wait, said = EVERY, ""
        except AgentError as failure:
            wait = min(wait * 2, LONGEST_WAIT)
            if str(failure) != said:
                said = str(failure)
                print(f"xportal: {said}; looking again", flush=True)
        time.sleep(wait)  # there is nothing that would tell


def tell(text: str) -> None:
    """A line in the journal and a message on every terminal of the machine."""
    print(f"xportal: {text}", flush=True)
    run(["wall", "-n", f"xportal: {text}"], check=False, timeout=WALL_SECONDS)


class Watcher:
    """What has been seen so far. `ask` asks for a save, `say` tells people."""

    def __init__(
        self,
        paths: Paths,
        imds: Imds,
        more: Extensions,
        ask: Callable[[Paths, str, Request], None] = request_save,
        say: Callable[[str], None] = tell,
    ) -> None:
        self._paths = paths
        self._imds = imds
        self._more = more
        self._ask = ask
        self._say = say
        self._notice: Optional[Notice] = None

    def look(self) -> None:
        """Ask once, and do what follows. Raises `AgentError` if the metadata service does not say."""
        notice = None if self._paths.saved.exists() else find_notice(self._imds)
        if notice:
            self._on_notice(notice)
        else:
            self._more.look(self._paths, self._imds, self._ask, self._say)

    def _on_notice(self, notice: Notice) -> None:
        left = notice.left(self._imds.now())
        # Asked again and again: one that is at work or went well is left alone, one that failed is made again.
        facts = {"action": notice.action, "time": notice.time, "seconds": round(left)}
        self._ask(self._paths, notice.save, Request(at=time.monotonic() + left, notice=facts, snapshot=True))
        if notice != self._notice:
            self._notice = notice
            self._say(f"AWS takes this machine back in {left:.0f} s ({notice.action} at {notice.time}): saving")
