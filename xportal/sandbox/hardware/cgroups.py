"""Control groups of a machine: frozen ones can neither die nor be removed, left ones must go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def thaw(container_id: str) -> None:
    """Thaw everything in the machine: a container paused in it would not even die."""
    for group in _groups(container_id):
        for file, word in ((group / "freezer.state", "THAWED"), (group / "cgroup.freeze", "0")):
            with contextlib.suppress(OSError):  # no such file here, or gone meanwhile
                if file.exists():
                    file.write_text(word)


def remove(container_id: str) -> None:
    """Remove what is left of the machine's groups, the deepest first."""
    for group in sorted(_groups(container_id), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):  # gone meanwhile, or the kernel still empties it
            group.rmdir()


def _groups(container_id: str) -> Iterator[Path]:
    """Every group of the container and below it, in every hierarchy, parents first."""
    for hierarchy in _hierarchies():
        for pattern in (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope"):
            top = hierarchy / pattern
            if top.is_dir():
                for place, _, _ in os.walk(top):
                    yield Path(place)


def _hierarchies() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    # v1: cpu,cpuacct and the like are one hierarchy with links to it
    return [path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink()] if _ROOT.is_dir() else []
