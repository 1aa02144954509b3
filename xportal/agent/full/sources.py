"""What containers mount from the machine: nothing that is not on a drive outlives it.

Docker makes the directory for a `-v` whose source is missing, and the container writes to the root disk. So such a
container is not started.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence, Tuple

from .docker import Docker

# What belongs to the machine, whichever it is: what containers find there is never their data.
SYSTEM = ("/dev/", "/proc/", "/sys/", "/run/", "/lib/modules/", "/usr/lib/modules/", "/tmp/.X11-unix/")
Info = Dict[str, Any]  # what `docker inspect` says of a container
Sources = List[Tuple[str, bool]]


def find_sources(docker: Docker, infos: Sequence[Info]) -> Dict[str, Sources]:
    """By container: the paths on the machine that it mounts, and whether it may write there.

    What Docker keeps itself, below its data-root, is not among them.
    """
    mounted = {info["Id"]: info.get("Mounts") or () for info in infos}
    volumes = {mount["Name"] for mounts in mounted.values() for mount in mounts if mount["Type"] == "volume"}
    options = docker.volume_options(sorted(volumes))
    return {id_: list_sources(mounts, options) for id_, mounts in mounted.items()}


def list_sources(mounts: Sequence[Dict[str, Any]], options: Dict[str, Dict[str, str]]) -> Sources:
    """The same of one container's Mounts, with the options of volumes, by name."""
    found = []
    for mount in mounts:
        if mount["Type"] == "bind":
            found.append((mount["Source"], mount["RW"]))
        elif mount["Type"] == "volume" and mount.get("Driver") == "local":
            # A volume can be a bind by another name.
            made_with = options.get(mount["Name"], {})
            flags = made_with.get("o", "").split(",")
            if "bind" in flags or "rbind" in flags:
                found.append((made_with["device"], mount["RW"] and "ro" not in flags))
    return found


def find_absent(sources: Sources) -> str:
    """Why a container with these sources cannot be started on this machine; "": nothing is against it."""
    for source, writable in sources:
        path = os.path.realpath(source)
        if is_system(path):
            continue
        if not os.path.exists(path):
            return f"{source} is not there"
        if writable and os.path.isdir(path) and device_of(path) == device_of("/"):
            return f"{source} is on this machine's root disk, not on a drive"
    return ""


def is_system(path: str) -> bool:
    """Whether a path belongs to the machine. The whole root does."""
    return path == "/" or f"{path}/".startswith(SYSTEM)


def device_of(path: str) -> int:
    """The device of the filesystem that a path is on; of one that is not there, or not to be seen, its parent's."""
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            path = os.path.dirname(path)
