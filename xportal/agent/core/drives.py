"""A drive as a whole: opened, and what is written on it about itself."""

from __future__ import annotations

import platform
import time
from typing import Any, Dict

from . import disk
from .config import AgentConfig, DriveConfig, Paths
from .covers import show
from .events import Log
from .files import read_json, write_json
from .mounts import find_mount


def open_drive(drive: DriveConfig, paths: Paths, log: Log, user: str = "ec2-user") -> Dict[str, Any]:
    """Find the drive's disk, make its filesystem if it is new, mount it, grow it, cover what containers must not see.

    `user`: whose home it has, beside Docker's data; "" if it has neither. Returns {name, volume_id, ...}.

    Raises `AgentError`. Nothing is written to a disk that holds anything.
    """
    with log.step("device", f"Looking for the volume of drive {drive.name} at {drive.device}"):
        found = disk.get_disk(drive, paths)
    new = False
    there = find_mount(drive.private) or find_mount(drive.mount)
    if there is None and disk.needs_filesystem(drive, found, paths):
        new = True
        with log.step("format", f"Making a filesystem on the new, empty volume {found.volume_id or found.path}"):
            disk.make_filesystem(drive, found, paths)
    kind = disk.find_signature(found) or ""
    with log.step("mount", f"Mounting drive {drive.name} ({gib(found.size_bytes)}) at {drive.mount}"):
        if there is None:
            disk.check_filesystem(found, kind)
            disk.mount(found, drive.private)
            disk.grow(drive, found, kind)
        if new:
            disk.tidy_new(drive)
        show(drive, found, user)
    facts = {"name": drive.name, "volume_id": found.volume_id, "device": found.path, "mount": drive.mount}
    return {**facts, "generation": drive.generation}


def gib(size: int) -> str:
    """A size for people."""
    return f"{size / 2**30:.3g} GiB"


def mark_drive(drive: DriveConfig, config: AgentConfig, log: Log) -> None:
    """Write on the drive whose it is: MOUNT/.xportal/drive.json, and say so if its data are of another kind of CPU."""
    drive.directory.mkdir(mode=0o700, exist_ok=True)
    before = read_json(drive.directory / "drive.json") or {}
    here = platform.machine()
    if before.get("architecture", here) != here:
        there = before["architecture"]
        log.say("drive", f"Drive {drive.name} comes from {there}: its containers will not run on {here}")
    facts = {"name": drive.name, "generation": drive.generation, "architecture": here, "launch": config.launch}
    write_json(drive.directory / "drive.json", {**before, **facts, "opened": int(time.time())})
