"""What containers see of a drive: their own data, and not what makes the machine.

Whoever can write to Docker's data-root, to the agent's own files or to the login user's home becomes root. So the
whole drive is mounted at `DriveConfig.private`, where root works. At `DriveConfig.mount` it is mounted a second time,
and there a small read-only filesystem lies over each of the three directories. A container that mounts `/v1` gets
these covers along with it: to the kernel they are mount points, which can be neither removed nor renamed. On the drive
nothing moves.

In a cover there are links into the whole drive. They lead nowhere in a container. On the machine the paths of before
work with them: Docker has noted `/v1/docker/volumes/...` for each container with a volume, and binds of
`/v1/home/ec2-user/...` have their source.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import List

from . import disk
from .config import DriveConfig
from .mounts import find_mount
from .process import AgentError, run

COVERED = ("docker", "home", ".xportal")
OPTIONS = "nosuid,nodev,noexec"


def list_covers(drive: DriveConfig) -> List[str]:
    """Where a drive that has Docker's data is covered, in the order in which that is done."""
    return [f"{drive.mount}/{name}" for name in COVERED]


def show(drive: DriveConfig, found: disk.Disk, user: str) -> None:
    """Mount the drive where containers see it, with its covers. Idempotent; nothing that uses it may run yet.

    `user`: whose home it has, beside Docker's data; "" if it has neither. A drive of before, or one that an agent of
    before has opened on this machine, is treated alike.
    """
    if find_mount(drive.private) is None:
        disk.mount(found, drive.private)
    root = Path(drive.private)
    covered = make_directories(root, bool(user))
    if find_mount(drive.mount) is None:
        disk.mount(found, drive.mount)
    disk.check_mounted(drive, found)
    links = {"docker": ["volumes"], "home": [user, *os.listdir(root / "home")] if user else [], ".xportal": []}
    for name in covered:
        cover(Path(drive.mount, name), root / name, links[name])


def cover(point: Path, hidden: Path, links: List[str]) -> None:
    """Cover one directory. It is writable until its links are there: one that was cut off in this is completed."""
    there = find_mount(str(point))
    if there and there.options.startswith("ro"):
        return
    if there is None:
        run(["mount", "-t", "tmpfs", "-o", f"{OPTIONS},mode=755", "xportal", str(point)])
    for name in links:
        if not (point / name).is_symlink():
            (point / name).symlink_to(hidden / name)
    run(["mount", "-o", f"remount,ro,{OPTIONS}", str(point)])


def make_directories(root: Path, main: bool) -> List[str]:
    """Which directories are to be covered; they exist then.

    The drive may be another portal's first drive one day: what a container could put there now would be trusted then.
    So they are made where they are missing. But a drive that never was a first one may have the user's own `home`.

    Raises `AgentError` if one is a link or a file: a container of before can have put it there, and root follows none.
    """
    main = main or (root / ".xportal/running.json").exists()
    covered = []
    for name in COVERED:
        path = root / name
        if not path.exists() and not path.is_symlink():
            path.mkdir(mode=0o700 if name == ".xportal" else 0o711)
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
        if name == ".xportal" or main or (is_directory and not any(path.iterdir())):
            if not is_directory:
                raise AgentError(f"{path} is no directory, and must be one: it is xportal's own")
            covered.append(name)
    return covered
