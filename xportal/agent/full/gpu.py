"""The machine's GPUs, and a container's wish for them in Docker's settings files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..core.events import Log
from ..core.process import run, wait_until

LABEL = "xportal.gpu"
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-runtime")
DRIVER_SECONDS = 180.0  # in which the driver loads; nvidia-smi alone may take half a minute for its first answer
ANSWER_SECONDS = 120.0
LINK_SECONDS = 60.0
LINKS = ("nvidia-ctk", "system", "create-dev-char-symlinks", "--create-all")
ALL_GPUS = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
CDI = "nvidia.com/gpu="  # begins a GPU's name in the Container Device Interface
NODE = "/dev/nvidia"  # begins the path of each of the driver's device files
ONE_GPU = re.compile(f"(|{CDI}|{NODE})([0-9]+|GPU-.+)")  # by its index or its UUID


def list_gpus(root: Path = Path("/"), every: float = 1.0) -> List[str]:
    """The GPUs that containers can have, each as "NAME (UUID: GPU-...)".

    Where the hardware is there, its driver gets some time to load.
    """
    if not any(shutil.which(hook) for hook in HOOKS):
        return []
    return wait_until(find_gpus, DRIVER_SECONDS if has_nvidia_card(root) else 0, every) or []


def link_devices(log: Log) -> None:
    """Make the links to NVIDIA's devices by their numbers, through which systemd finds them, as NVIDIA advises.

    Without them some versions of runc take a container's devices away when systemd reads its units again.
    """
    if shutil.which(LINKS[0]):
        done = run(LINKS, check=False, timeout=LINK_SECONDS)
        if done.status:
            log.say("gpu", f"The links to the GPU's devices were not made: {done.err.strip() or done.out.strip()}")


def find_gpus() -> List[str]:
    """What `nvidia-smi -L` lists now."""
    listed = run(["nvidia-smi", "-L"], check=False, timeout=ANSWER_SECONDS)
    return re.findall(r"^GPU \d+: (.+)", listed.out, re.M) if listed.status == 0 else []


def gpu_name(gpus: Sequence[str]) -> Optional[str]:
    """The first GPU's name; None if there is no GPU."""
    return gpus[0].partition(" (UUID")[0] if gpus else None


def has_nvidia_card(root: Path) -> bool:
    """Whether the PCI bus has an NVIDIA display or 3D controller."""
    for card in (root / "sys/bus/pci/devices").glob("*"):
        if (card / "vendor").read_text().strip() == "0x10de" and (card / "class").read_text().startswith("0x03"):
            return True
    return False


def plan_gpu(
    host: Dict[str, Any], labels: Dict[str, str], remembered: Optional[Dict[str, Any]], gpus: Sequence[str]
) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """A container's hostconfig.json on a machine with these GPUs, and what to remember of its wish.

    What is not about GPUs stays as it is. None instead of a wish: it has none. The wish is what the container was made
    with: {"requests": its DeviceRequests for GPUs, "runtime": "...", "devices": all its Devices}.
    """
    requests = host.get("DeviceRequests") or []
    asked = [request for request in requests if is_gpu(request)]
    wish = {"requests": asked, "runtime": host.get("Runtime"), "devices": host.get("Devices"), **(remembered or {})}
    if labels.get(LABEL) == "auto" and not wish["requests"]:
        wish["requests"] = [ALL_GPUS]
    if not has_gpu({"DeviceRequests": wish["requests"], "Runtime": wish["runtime"], "Devices": wish["devices"]}):
        return host, None
    others = [request for request in requests if not is_gpu(request)]
    devices = [suit(device, gpus) for device in wish["devices"] or [] if gpus or not is_node(device)]
    fitted = {
        "DeviceRequests": others + [suit(request, gpus) for request in wish["requests"] if gpus],
        "Devices": [device for place, device in enumerate(devices) if device not in devices[:place]],
        "Runtime": "runc" if wish["runtime"] == "nvidia" and not gpus else wish["runtime"],
    }
    # Docker keeps an empty list as whoever made the container wrote it: as a list, or as null.
    changes = {key: value or None for key, value in fitted.items() if (value or None) != (host.get(key) or None)}
    return ({**host, **changes} if changes else host), wish


def is_gpu(request: Dict[str, Any]) -> bool:
    """Whether a DeviceRequest asks for GPUs, in Docker's own way or by their names in the Container Device Interface.

    `docker run` puts all such names into one request: one that has a GPU's counts as a whole.
    """
    return "gpu" in str(request.get("Capabilities")) or CDI in str(request.get("DeviceIDs"))


def is_node(device: Dict[str, Any]) -> bool:
    """Whether one of a container's Devices is the NVIDIA driver's."""
    return bool(device["PathOnHost"].startswith(NODE))


def has_gpu(host: Dict[str, Any]) -> bool:
    """Whether a container's HostConfig asks for GPUs."""
    asked = [*filter(is_gpu, host.get("DeviceRequests") or []), *filter(is_node, host.get("Devices") or [])]
    return bool(asked) or host.get("Runtime") == "nvidia"


def suit(asked: Dict[str, Any], gpus: Sequence[str]) -> Dict[str, Any]:
    """A DeviceRequest, or one of the Devices, as this machine can meet it: the same GPUs, else as many, at most all."""
    if (asked.get("Count") or 0) > len(gpus):
        return {**asked, "Count": -1}
    return {
        key: list(dict.fromkeys(find_here(name, place, gpus) for place, name in enumerate(value)))
        if key == "DeviceIDs" and value
        else find_here(value, 0, gpus)
        for key, value in asked.items()
    }


def find_here(name: Any, place: int, gpus: Sequence[str]) -> Any:
    """A GPU's index, UUID, CDI name or device file, or what stands for it here: another machine's UUID for its place.

    What is none of that stays as it is.
    """
    found = ONE_GPU.fullmatch(name) if isinstance(name, str) else None
    if not found or (found[2][0] == "G" and found[2] in str(gpus)):
        return name
    return f"{found[1]}{int(found[2] if found[2].isdigit() else place) % len(gpus)}"
