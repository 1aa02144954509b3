"""Containers keep their GPUs when systemd reads its units again (`systemctl daemon-reload`, updates of packages).

NVIDIA's hook gives a container its GPUs behind Docker's and systemd's backs. Where systemd manages the containers'
control groups, as on Amazon Linux, it makes them anew when it reads its units again, from what Docker has told it, and
the container loses its GPUs ("Failed to initialize NVML: Unknown Error", NVIDIA/nvidia-container-toolkit#48).

So a container that asks for GPUs gets a drop-in of systemd's that allows NVIDIA's devices. It takes effect when it is
needed: when the units are read. Nothing of the container's own settings changes. (NVIDIA's own way around it, another
control group driver, would take away what keeps containers from the machine's credentials: `core.units.NO_METADATA`.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..core.files import write_whole
from .gpu import has_gpu

SCOPES = "run/systemd/transient"  # where systemd notes what Docker has told it of a container
DROP_IN = "60-xportal-gpu.conf"  # after systemd's own 50-DeviceAllow.conf, whose first line clears the list
ALLOW = """[Scope]
DeviceAllow=char-nvidia* rwm
"""


def keep_gpus(root: Path, data_root: Path) -> List[str]:
    """Write the drop-in of each container that runs with GPUs and has none yet. Returns their ids."""
    kept = []
    for scope in sorted((root / SCOPES).glob("docker-*.scope")):
        drop_in = root / "run/systemd/system" / f"{scope.name}.d" / DROP_IN
        container = scope.name[len("docker-") : -len(".scope")]
        if not drop_in.exists() and is_to_keep(data_root / "containers" / container / "hostconfig.json"):
            write_whole(drop_in, ALLOW)
            kept.append(container)
    return kept


def is_to_keep(settings: Path) -> bool:
    """Whether a container has GPUs that it can lose.

    One with all privileges has no list of devices: a list would take all others from it.
    """
    host = read_host(settings)
    return host is not None and has_gpu(host) and not host.get("Privileged")


def read_host(settings: Path) -> Optional[Dict[str, Any]]:
    """A container's HostConfig; None of one that has gone meanwhile."""
    try:
        return dict(json.loads(settings.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
