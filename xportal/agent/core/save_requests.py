"""What a save is asked to do, and asking for it: the work is a unit's, whoever asks goes on."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from . import units
from .config import Paths
from .files import read_json, write_json
from .process import AgentError, run
from .state import log_path

GRACE = 30
SAVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Request:
    """`grace`: seconds that containers get after SIGTERM; None: each its own, or `GRACE`.

    `at`: when the machine dies, by its monotonic clock.
    """

    grace: Optional[int] = None
    at: Optional[float] = None
    notice: Optional[Dict[str, Any]] = None  # AWS's, if it is the cause
    snapshot: bool = False  # taken by the machine itself
    power_off: bool = False  # afterwards
    rehearsal: bool = False  # afterwards everything comes back
    attended: bool = False  # somebody waits for it, who takes the snapshot and ends the machine: unless they vanish


def request_save(paths: Paths, save: str, request: Request) -> None:
    """Start a save as a unit of its own, and return. A save of this id that is at work or went well is left alone."""
    if not SAVE_ID.fullmatch(save) or save == "boot":
        raise AgentError(f"{save!r} is no id for a save")
    log = log_path(paths, save)
    if units.is_pending(units.save_unit(save)) or read_end(log).get("ok"):
        return
    if log.exists():
        log.unlink()
    write_json(paths.requests / f"{save}.json", asdict(request))
    run(["systemctl", "reset-failed", units.save_unit(save)], check=False)
    run(["systemctl", "start", "--no-block", units.save_unit(save)])


def read_request(paths: Paths, save: str) -> Request:
    """What was asked for."""
    return Request(**(read_json(paths.requests / f"{save}.json") or {}))


def read_end(log: Path) -> Dict[str, Any]:
    """The end line of a save's log; nothing if it has none."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    last: Dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return last if "end" in last else {}
