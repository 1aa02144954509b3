"""The machine's GPUs, and a container's wish for them in Docker's settings files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..core.process import run, wait_until

LABEL = "xportal.gpu"
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-runtime")
DRIVER_SECONDS = 60.0
ALL_GPUS = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}


def list_gpus(root: Path = Path("/")) -> List[str]:
    """The names of the GPUs that containers can have. Where the hardware is there, its driver gets a minute to load."""
    if not any(shutil.which(hook) for hook in HOOKS):
        return []
    return wait_until(find_gpus, DRIVER_SECONDS if has_nvidia_card(root) else 0, every=1) or []


def find_gpus() -> List[str]:
    """What `nvidia-smi -L` lists now."""
    listed = run(["nvidia-smi", "-L"], check=False, timeout=120)
    return re.findall(r"^GPU \d+: (.+?)(?: \(UUID.*)?$", listed.out, re.M) if listed.status == 0 else []


def has_nvidia_card(root: Path) -> bool:
    """Whether the PCI bus has an NVIDIA display or 3D controller."""
    for card in (root / "sys/bus/pci/devices").glob("*"):
        if (card / "vendor").read_text().strip() == "0x10de" and (card / "class").read_text().startswith("0x03"):
            return True
    return False


def plan_gpu(
    host: Dict[str, Any], labels: Dict[str, str], remembered: Optional[Dict[str, Any]], gpus: int
) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """A container's hostconfig.json on a machine with this many GPUs, and what to remember of its wish.

    What is not about GPUs stays as it is. The wish is {"requests": [...], "runtime": "..."}; None: it has none.
    """
    requests = host.get("DeviceRequests") or []
    others = [request for request in requests if not is_gpu(request)]
    asked = [request for request in requests if is_gpu(request)]
    wish = remembered or {"requests": asked, "runtime": host.get("Runtime")}
    if labels.get(LABEL) == "auto" and not wish["requests"]:
        wish = {**wish, "requests": [ALL_GPUS]}
    nvidia = wish["runtime"] == "nvidia"
    if not wish["requests"] and not nvidia:
        return host, None
    wanted = [request if fits(request, gpus) else ALL_GPUS for request in wish["requests"]] if gpus else []
    runtime = wish["runtime"] if gpus or not nvidia else "runc"
    if requests == others + wanted and runtime == host.get("Runtime"):
        return host, wish
    return {**host, "DeviceRequests": others + wanted or None, "Runtime": runtime}, wish


def is_gpu(request: Dict[str, Any]) -> bool:
    """Whether a DeviceRequest asks for GPUs."""
    return any("gpu" in group for group in request.get("Capabilities") or [])


def has_gpu(host: Dict[str, Any]) -> bool:
    """Whether a container's HostConfig asks for GPUs."""
    return host.get("Runtime") == "nvidia" or any(is_gpu(request) for request in host.get("DeviceRequests") or [])


def fits(request: Dict[str, Any], gpus: int) -> bool:
    """Whether a machine with this many GPUs can give what is asked: not by name, and not more than there are."""
    return not request.get("DeviceIDs") and int(request.get("Count") or 0) <= gpus
