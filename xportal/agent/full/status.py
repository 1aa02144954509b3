"""`agent status`: what is here, cheaply."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..core.config import Paths
from ..core.mounts import find_mount
from ..core.process import AgentError, Done, run
from ..core.save_requests import read_request
from ..core.state import read_state
from .docker import Docker
from .gpu import gpu_name, has_gpu
from .off_drive import find_warnings

DOCKER_SECONDS = 10.0
UNASKED = ("idle", "shutdown")  # the ids of saves that a machine makes without a notice, and nobody waits for
# How the notes begin on what could not be started, and on what runs.
NOT_STARTED = re.compile("(is|did) not start")
RUNS = re.compile("has the machine's GPU|runs without a GPU")


def read_status(paths: Paths) -> Dict[str, Any]:
    """What `agent status` prints (see the package's docstring)."""
    state = read_state(paths)
    return {
        "phase": state["phase"],
        "error": state["error"],
        "portal": state["portal"],
        "launch": state["launch"],
        "gpu": gpu_name(state["gpus"]),
        "docker": state["docker"],
        "drives": [{**drive, **measure(drive["mount"])} for drive in state["drives"]],
        "containers": list_containers(state) if state["phase"] in ("ready", "saving") else [],
        "leaving": find_leaving(paths, state),
        "settings": state.get("settings"),
    }


def find_leaving(paths: Paths, state: Dict[str, Any]) -> Optional[Dict[str, Optional[str]]]:
    """Why a save is at work, or was made; None if none is. `time` is when AWS takes the machine, as it said."""
    if state["phase"] not in ("saving", "saved"):
        return None
    request = read_request(paths, state["save"])
    if request.rehearsal:
        return {"why": "rehearsal", "time": None}
    if request.notice:
        return {"why": "notice", "time": str(request.notice.get("time") or "") or None}
    return {"why": state["save"] if state["save"] in UNASKED else "down", "time": None}


def list_containers(state: Dict[str, Any]) -> List[Dict[str, Any]]:
    """All containers; none if Docker does not answer soon."""
    client = Docker(run_soon)
    try:
        infos = client.inspect(client.list_ids())
        warnings = find_warnings(client, infos, state["drives"])
    except (AgentError, ValueError):
        return []
    return [
        {
            "id": info["Id"],
            "name": info["Name"].lstrip("/"),
            "running": info["State"]["Running"],
            "gpu": has_gpu(info["HostConfig"]),
            "note": find_note(info, state["notes"]),
            "warnings": warnings[info["Id"]],
        }
        for info in infos
    ]


def find_note(info: Dict[str, Any], notes: Dict[str, str]) -> Optional[str]:
    """What is to be said of a container as it is now: somebody may have started or stopped it since the boot."""
    note = notes.get(info["Id"]) or ""
    is_past = NOT_STARTED.search(note) if info["State"]["Running"] else RUNS.fullmatch(note.partition(":")[0])
    return None if is_past else note or None


def run_soon(argv: List[str], *, check: bool = True, timeout: Optional[float] = None) -> Done:
    """`run`, for a question that is not worth waiting for."""
    return run(argv, check=check, timeout=min(timeout or DOCKER_SECONDS, DOCKER_SECONDS))


def measure(mount: str) -> Dict[str, Optional[int]]:
    """The size and use of a mounted drive; None where it is not mounted."""
    if find_mount(mount) is None:
        return {"size_bytes": None, "used_bytes": None}
    facts = os.statvfs(Path(mount))
    used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    return {"size_bytes": facts.f_blocks * facts.f_frsize, "used_bytes": used}
