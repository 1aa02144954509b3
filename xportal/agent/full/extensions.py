"""The full agent's side of the core's seam."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..core.config import AgentConfig, Paths
from ..core.events import Log
from ..core.extensions import Extensions
from ..core.imds import Imds
from ..core.mounts import find_device
from ..core.save_requests import Request
from ..core.state import one_at_a_time
from ..core.steps import Steps
from .boot_retry import go_on
from .checkpoint import frozen, request_freeze, run_freeze, thaw, thaw_own
from .containers import record_running
from .docker import Docker, is_running
from .extra_watches import Hints
from .follow_log import print_log
from .kept_spec import keep_spec, kept_spec
from .mount_holders import release
from .quiesce import quiesce
from .rehearsal import rehearse, request_rehearsal
from .remember import remember
from .settings import change_settings
from .snapshots import take_snapshots, try_role
from .status import read_status


class Full(Extensions):
    """Everything; one for the life of a process."""

    def __init__(self, take: Callable[..., Dict[str, str]] = take_snapshots) -> None:
        self._hints: Optional[Hints] = None
        self._take = take

    def commands(self, paths: Paths, words: Sequence[str]) -> Dict[str, Callable[[], object]]:
        """What only somebody who is logged in asks for."""
        return {
            "ready": lambda: go_on(paths),
            "freeze": lambda: request_freeze(paths, words[0]),
            "run-freeze": lambda: run_freeze(paths, words[0]),
            "thaw": lambda: thaw(paths),
            "thaw-own": lambda: thaw_own(paths, words[0]),
            "remember": lambda: remember(paths, json.loads(words[0])),
            "keep-spec": lambda: keep_spec(paths, json.load(sys.stdin)),
            "spec": lambda: print(json.dumps(kept_spec(paths))),
            "settings": lambda: change_settings(paths, json.loads(words[0])),
            "rehearse": lambda: request_rehearsal(paths, words[0]),
            "follow": lambda: print_log(paths, words[0], int(words[2]) if words[1:] else 0),
            "try-role": lambda: print(json.dumps({"error": try_role(paths.get_config()) or None})),
            "status": lambda: print(json.dumps(read_status(paths))),
        }

    def look(
        self, paths: Paths, imds: Imds, ask: Callable[[Paths, str, Request], None], say: Callable[[str], None]
    ) -> None:
        """See `hints`. Made at the first look, not before: whatever fails there hides no notice."""
        self._hints = self._hints or Hints(paths, imds, ask, say)
        self._hints.look()

    def quiesce(self, steps: Steps) -> Dict[str, Any]:
        """See `quiescing`."""
        return quiesce(steps)

    def release(self, device: str, log: Log) -> Tuple[bool, List[str]]:
        """See `holders`."""
        return release(device, log)

    def take_snapshots(
        self,
        config: AgentConfig,
        drives: Sequence[Dict[str, Any]],
        save: str,
        kind: str,
        log: Log,
        left: Callable[[], float],
    ) -> Dict[str, str]:
        """See `snapshots`. Drives that could not be unmounted hold still meanwhile."""
        points = [mount.point for drive in drives if (mount := find_device(drive["device"]))]
        with frozen(points, log) if points else nullcontext():
            return self._take(config, drives, save, kind, log, left)

    def rehearse(
        self,
        paths: Paths,
        close: Callable[[], Dict[str, Any]],
        take_snapshots: Callable[[str, float], Dict[str, str]],
        log: Log,
    ) -> Dict[str, Any]:
        """See `rehearsal`."""
        return rehearse(paths, close, take_snapshots, log)

    def leave_for_reboot(self, paths: Paths) -> None:
        """As a save notes it."""
        if is_running():
            with one_at_a_time(paths):
                record_running(Docker(), paths.get_config().main.directory, "reboot")
