"""`agent status`: what is here, cheaply."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..core.config import Paths
from ..core.mounts import find_mount
from ..core.process import AgentError, Done, run
from ..core.state import read_state
from .docker import Docker
from .gpu import is_gpu

DOCKER_SECONDS = 10.0


def read_status(paths: Paths) -> Dict[str, Any]:
    """What `agent status` prints (see the package's docstring)."""
    state = read_state(paths)
    return {
        "phase": state["phase"],
        "error": state["error"],
        "portal": state["portal"],
        "launch": state["launch"],
        "gpu": (state["gpus"] or [None])[0],
        "docker": state["docker"],
        "drives": [{**drive, **measure(drive["mount"])} for drive in state["drives"]],
        "containers": list_containers(state["notes"]) if state["phase"] in ("ready", "saving") else [],
    }


def list_containers(notes: Dict[str, str]) -> List[Dict[str, Any]]:
    """All containers; none if Docker does not answer soon."""
    client = Docker(run_soon)
    try:
        infos = client.inspect(client.list_ids())
    except (AgentError, ValueError):
        return []
    return [
        {
            "id": info["Id"],
            "name": info["Name"].lstrip("/"),
            "running": info["State"]["Running"],
            "gpu": has_gpu(info["HostConfig"]),
            "note": notes.get(info["Id"]) or None,
        }
        for info in infos
    ]


def run_soon(argv: List[str], *, check: bool = True, timeout: Optional[float] = None) -> Done:
    """`run`, for a question that is not worth waiting for."""
    return run(argv, check=check, timeout=min(timeout or DOCKER_SECONDS, DOCKER_SECONDS))


def has_gpu(host: Dict[str, Any]) -> bool:
    """Whether a container's HostConfig asks for GPUs."""
    return host.get("Runtime") == "nvidia" or any(is_gpu(request) for request in host.get("DeviceRequests") or [])


def measure(mount: str) -> Dict[str, Optional[int]]:
    """The size and use of a mounted drive; None where it is not mounted."""
    if find_mount(mount) is None:
        return {"size_bytes": None, "used_bytes": None}
    facts = os.statvfs(Path(mount))
    used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    return {"size_bytes": facts.f_blocks * facts.f_frsize, "used_bytes": used}
