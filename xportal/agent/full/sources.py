"""What containers mount from the machine: nothing that is not on a drive outlives it.

Docker makes the directory for a `-v` whose source is missing, and the container writes to the root disk. So such a
container is not started.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence, Tuple

from ..core.covers import COVERED
from ..core.mounts import Mount
from .docker import Docker

# What belongs to the machine, whichever it is: what containers find there is never their data.
SYSTEM = ("/dev/", "/proc/", "/sys/", "/run/", "/lib/modules/", "/usr/lib/modules/", "/tmp/.X11-unix/")
MOST_LINKS = 40  # as many as the kernel follows
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


def find_absent(sources: Sources, drives: Sequence[str] = ()) -> str:
    """Why a container with these sources cannot be started on this machine; "": nothing is against it.

    `drives` are where containers can write to drives: a link there may be any container's.
    """
    for source, writable in sources:
        path = os.path.realpath(source)
        if leads_off(source, drives):
            return f"{source} leads off its drive, to {path}, by a link that a container can have put there"
        if is_system(path):
            continue
        if not os.path.exists(path):
            return f"{source} is not there"
        if writable and os.path.isdir(path) and device_of(path) == device_of("/"):
            return f"{source} is on this machine's root disk, not on a drive"
    return ""


def leads_off(source: str, drives: Sequence[str]) -> bool:
    """Whether the way to a source leaves a drive by a link that is on it."""
    path, rest, hops = "/", source.split("/"), 0
    while rest and hops < MOST_LINKS:
        step = os.path.normpath(os.path.join(path, rest.pop(0)))
        if not os.path.islink(step):
            path = step
            continue
        drive = find_drive(step, drives)
        if drive and find_drive(os.path.realpath(step), drives) != drive:
            return True
        # Its target is walked like the source: there may be links in it, too.
        path, rest, hops = "/", [*os.path.join(path, os.readlink(step)).split("/"), *rest], hops + 1
    return False


def find_drive(path: str, drives: Sequence[str]) -> str:
    """The drive that a path is on, if containers can write there; "" otherwise: links in covers are root's."""
    on = (drive for drive in drives if f"{path}/".startswith(f"{drive}/"))
    return next((drive for drive in on if path[len(drive) + 1 :].partition("/")[0] not in COVERED), "")


def list_shown(mounts: Sequence[Mount]) -> List[str]:
    """Where drives are mounted for containers: where the agent's own files are covered."""
    return [os.path.dirname(mount.point) for mount in mounts if mount.point.endswith("/.xportal")]


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
