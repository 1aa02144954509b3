"""state.json: how far this boot has come."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from .config import Paths
from .files import read_json, write_json
from .process import limited

NEW: Dict[str, Any] = {
    "phase": "opening",
    "save": "",
    "started": False,
    "error": None,
    "portal": None,
    "launch": None,
    "gpus": [],
    "docker": None,
    "drives": [],
    "notes": {},
    "late": [],
    "seconds": {},
}


def read_state(paths: Paths) -> Dict[str, Any]:
    """The state, with every key."""
    return {**NEW, **(read_json(paths.state) or {})}


def update_state(paths: Paths, **changes: object) -> None:
    """Change some keys."""
    write_json(paths.state, {**read_state(paths), **changes})


@contextmanager
def one_at_a_time(paths: Paths, seconds: Optional[float] = None) -> Iterator[None]:
    """Only one of open, ready and save works at any time; the others wait. Raises `AgentError` if that takes longer."""
    path = paths.state.with_name("lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        limited(lambda: fcntl.flock(handle, fcntl.LOCK_EX), seconds)
        yield
    finally:
        os.close(handle)


def log_path(paths: Paths, name: str) -> Path:
    """The event log of the boot or of a save."""
    return paths.logs / f"{name}.jsonl"
