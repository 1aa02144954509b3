"""Images of one layer instead of many: Docker takes no more than 125, and what upper ones hide stays on the drive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

from ..core.process import AgentError
from .containers import HALF_MADE
from .engine import Engine

MAX_LAYERS = 60
MAX_HIDDEN = 1 << 30
MARGIN = 64 << 20


def is_deep(image: Dict[str, Any], flat_bytes: int) -> bool:
    """Whether an image has many layers, or much more in them than when it was flat: half of it may be hidden."""
    layers = len(image["RootFS"].get("Layers") or [])
    return layers > MAX_LAYERS or int(image["Size"]) > 2 * flat_bytes + MAX_HIDDEN


def check_space(drive: Path, needs: int) -> None:
    """Raises `AgentError` if the drive has not so many bytes free, and some more."""
    disk = os.statvfs(drive)
    free = disk.f_bavail * disk.f_frsize
    if needs * 1.05 + MARGIN > free:
        raise AgentError(f"that needs {needs >> 20} MiB, and the drive has only {free >> 20} MiB free")


def flatten(engine: Engine, container: str, name: str, settings: Dict[str, Any]) -> str:
    """Make image `name`, with these settings, of what a container that does not run sees. Returns the image's id.

    Every setting goes through a commit of a container that has none, as JSON: nothing needs quoting.
    """
    files = engine.copy_flat(container)
    bare = engine.create(f"{container[:12]}{HALF_MADE}flat", {"Image": files, "Cmd": ["-"]})
    try:
        return engine.commit(bare, name, settings)
    finally:
        engine.remove(bare)


def flatten_image(engine: Engine, drive: Path, image: Dict[str, Any], name: str) -> str:
    """Make a flat image of a deep one. Returns its id. Raises `AgentError`, with nothing changed."""
    check_space(drive, int(image["Size"]))
    body = {"Image": image["Id"], "Cmd": ["-"], "Entrypoint": []}
    container = engine.create(f"{image['Id'][-12:]}{HALF_MADE}deep", body)
    try:
        return flatten(engine, container, name, image["Config"])
    finally:
        engine.remove(container, volumes=True)


def settings_of(container: Dict[str, Any], image: Dict[str, Any]) -> Dict[str, Any]:
    """The settings that an image made of a container has: the container's, and what only images have."""
    own = container["Config"]
    started = {key: own.get(key) for key in ("Cmd", "Entrypoint")}
    return {**(image["Config"] or {}), **{key: value for key, value in own.items() if value}, **started}
