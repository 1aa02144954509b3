"""What containers write that is on no drive: said while there is time."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from ..core.mounts import list_mounts
from .docker import Docker
from .sources import Info, Sources, device_of, find_sources, is_system


def find_warnings(docker: Docker, infos: Sequence[Info], drives: Sequence[Dict[str, Any]]) -> Dict[str, List[str]]:
    """Sentences on what each container can write that goes with the machine, by id. `drives` as in the state."""
    sources = find_sources(docker, infos)
    mounts = [drive["mount"] for drive in drives]
    return {
        info["Id"]: [
            f"{info['Name'].lstrip('/')} can write to {source}, which is on no drive: it goes with the machine"
            for source in find_lost(sources[info["Id"]], mounts)
        ]
        for info in infos
    }


def find_lost(sources: Sources, drives: Sequence[str]) -> List[str]:
    """Which of these paths are on the machine's own disks, and can be written to. `drives` are where drives belong.

    Not what is on a drive, in memory, or on another computer.
    """
    disks = {mount.number for mount in list_mounts() if mount.source.startswith("/dev/")} | {device_of("/")}
    disks -= {device_of(drive) for drive in drives if os.path.ismount(drive)}
    written = [source for source, writable in sources if writable and not is_system(os.path.realpath(source))]
    return [source for source in written if device_of(source) in disks]
