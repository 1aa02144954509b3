"""A rehearsal: the save as at a notice, timed against the two minutes, and everything back."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict

from ..core.boot import open_all
from ..core.config import Paths
from ..core.events import Log
from ..core.files import remove
from ..core.home import open_home
from ..core.mounts import find_device
from ..core.notices import NOMINAL_SECONDS
from ..core.process import AgentError
from ..core.save_requests import Request, request_save
from ..core.state import read_state, update_state
from .boot_end import finish_boot
from .checkpoint import thaw_all
from .quiesce import WORD
from .start_containers import start_containers

PATIENCE = 5.0  # seconds that AWS gets while nothing works


def request_rehearsal(paths: Paths, save: str) -> None:
    """Start a rehearsal as a unit of its own, and return; its log is that of a save."""
    check_ready(paths)
    at = time.monotonic() + NOMINAL_SECONDS
    facts = {"action": "rehearsal", "seconds": NOMINAL_SECONDS}
    request_save(paths, save, Request(at=at, notice=facts, snapshot=True, rehearsal=True))


def rehearse(
    paths: Paths,
    close: Callable[[], Dict[str, Any]],
    take_snapshots: Callable[[str, float], Dict[str, str]],
    log: Log,
) -> Dict[str, Any]:
    """Close the drives as for good, take checkpoints of them, open them again. Raises `AgentError`.

    One that was killed is only opened again.

    The result has {"took": seconds from the beginning until AWS had the snapshots, "steps": {step: seconds of these},
    "back": seconds from then on until everything was as before}.
    """
    if read_state(paths)["phase"] == "saving":
        reopen(paths, log)
        log.end(False, "the rehearsal was cut off; all is back", {})  # for who follows it
        return {"save": "", "already": True}
    check_ready(paths)
    began = time.monotonic()
    try:
        result = close()
        result["snapshots"] = take_snapshots("checkpoint", time.monotonic() + PATIENCE)
        saved = time.monotonic()
        result.update(took=round(saved - began, 1), steps=dict(log.seconds))
    finally:
        reopen(paths, log)
    return {**result, "back": round(time.monotonic() - saved, 1)}


def check_ready(paths: Paths) -> None:
    """Raises `AgentError` unless everything is there that is to come back."""
    phase = read_state(paths)["phase"]
    if phase != "ready":
        raise AgentError(f"the machine is {phase}: there is nothing to rehearse")


def reopen(paths: Paths, log: Log) -> None:
    """Everything as it was before, with restart policies, GPU access and the home directory as at a boot."""
    drives = read_state(paths)["drives"]
    # A drive that could not be unmounted was frozen.
    thaw_all(mount.point for drive in drives if (mount := find_device(drive["device"])))
    if any(paths.requests.glob("notice-*.json")):
        raise AgentError("AWS's own notice has come: the drive stays as it is, for the save that waits")
    config = paths.get_config()
    update_state(paths, phase="opening", started=False)
    open_all(paths, log)
    open_home(config)
    start_containers(config, paths, log)
    finish_boot(config, paths, log)
    remove(config.main.directory / WORD)
