"""The steps of a save, each with a limit: a dead disk, file server or Docker may never answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, TypeVar

from .config import Paths
from .deadline import left
from .events import Log
from .files import read_json
from .process import AgentError, limited, run
from .save_requests import Request
from .state import log_path

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Seconds that a save takes at most."""

    least: float = 5.0  # that a step gets, however late it is
    step: float = 60.0  # more than any step needs: what waits in memory for a drive is bounded
    commit: float = 3600.0
    attended: float = 120.0  # in which who asked for a save takes the snapshot and ends the machine


class Steps:
    """Those of one save. What fails is said, and does not stop what follows."""

    def __init__(self, paths: Paths, save: str, request: Request, limits: Limits = Limits()) -> None:
        self.paths = paths
        self.save = save
        self.request = request
        self.limits = limits
        self.log = Log(log_path(paths, save))
        self.faults: List[str] = []  # why a snapshot taken now would be no final one

    def left(self) -> float:
        """Seconds; AWS's notice may come while a save is at work that has all the time."""
        notices = [read_json(path)["at"] for path in self.paths.requests.glob("notice-*.json")]
        return min(map(left, [self.request.at, *notices]))

    def limit(self, seconds: float = 0) -> float:
        """What a step may take that usually takes less than these seconds: never more than half of what is left."""
        return max(self.limits.least, min(seconds or self.limits.step, self.left() / 2))

    def sync(self, text: str, points: Sequence[str]) -> None:
        """Write everything to the filesystems at these points. The kernel tells of an error once, to who asks first."""
        if points and self.attempt("sync", text, lambda: run(["sync", "-f", *points])) is None:
            self.faults.append("not everything could be written")

    def attempt(self, step: str, text: str, work: Callable[[], T], seconds: float = 0) -> Optional[T]:
        """One step's result; None if it fails or takes longer."""
        with self.log.step(step, text):
            try:
                return limited(work, self.limit(seconds))
            except (AgentError, OSError, ValueError, KeyError) as error:
                self.log.say(step, f"This did not work, going on without: {error}")
                return None
