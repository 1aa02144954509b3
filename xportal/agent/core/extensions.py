"""What the full agent adds to the core: one seam, which the program loads once, when it starts.

The class here is the core's own: what a machine does that nobody has logged in to yet. `full.extensions` has the other.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Callable, Dict, List, Sequence, Tuple

from .config import AgentConfig, Paths
from .events import Log
from .imds import Imds
from .mounts import end_logins, try_unmount
from .process import AgentError
from .save_requests import Request
from .steps import Steps


class Extensions:
    """The places at which the full agent does more than the core. To the core alone Docker is nothing: it never ran."""

    def commands(self, paths: Paths, words: Sequence[str]) -> Dict[str, Callable[[], object]]:
        """More commands, by name, with the words that follow it; one that returns False has failed."""
        return {}

    def look(
        self, paths: Paths, imds: Imds, ask: Callable[[Paths, str, Request], None], say: Callable[[str], None]
    ) -> None:
        """The watcher's look for what is no notice, every few seconds."""

    def quiesce(self, steps: Steps) -> Dict[str, Any]:
        """Before a save unmounts the drives: containers end, Docker stops. Returns what is in the save's result."""
        return {}

    def release(self, device: str, log: Log) -> Tuple[bool, List[str]]:
        """End who holds a device's filesystem, and unmount it. Returns whether it is unmounted, and who was ended.

        The core ends who logged in a moment ago, and works in the home on the drive: there is nobody else yet.
        """
        ended = end_logins(os.stat(device).st_rdev)
        log.say("unmount", f"The drive was held by {', '.join(ended)}: ended")
        return try_unmount(device), ended

    def take_snapshots(
        self,
        config: AgentConfig,
        drives: Sequence[Dict[str, Any]],
        save: str,
        kind: str,
        log: Log,
        left: Callable[[], float],
    ) -> Dict[str, str]:
        """Snapshots of unmounted drives, with the machine's role. Returns {drive: snapshot}."""
        log.say("snapshot", "The snapshot is left to xportal up")
        return {}

    def rehearse(
        self,
        paths: Paths,
        close: Callable[[], Dict[str, Any]],
        take_snapshots: Callable[[str, float], Dict[str, str]],
        log: Log,
    ) -> Dict[str, Any]:
        """A save after which everything comes back. Returns its result."""
        raise AgentError("only the full agent can rehearse")

    def leave_for_reboot(self, paths: Paths) -> None:
        """The machine restarts: what runs now is to run again."""


def load() -> Extensions:
    """The full agent's, if it has come, else the core's."""
    if find_spec("..full", __package__) is None:
        return Extensions()
    more: Extensions = import_module("..full.extensions", __package__).Full()
    return more
