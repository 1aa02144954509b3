"""Images of one layer instead of many: Docker takes no more than 125, and what upper ones hide stays on the drive."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from ..core.files import read_json, write_json
from ..core.process import AgentError
from .containers import HALF_MADE
from .docker_api import Engine

MAX_LAYERS = 60
MAX_HIDDEN = 1 << 30
MARGIN = 64 << 20
SCRATCH = "scratch.json"  # the names of containers that only serve to make an image


def is_deep(image: Dict[str, Any], flat_bytes: int, most: int = MAX_LAYERS) -> bool:
    """Whether an image has more than `most` layers, or much more in them than when it was flat: half may be hidden."""
    layers = len(image["RootFS"].get("Layers") or [])
    return layers > most or int(image["Size"]) > 2 * flat_bytes + MAX_HIDDEN


def check_space(drive: Path, needs: int) -> None:
    """Raises `AgentError` if the drive has not so many bytes free, and some more."""
    disk = os.statvfs(drive)
    free = disk.f_bavail * disk.f_frsize
    if needs * 1.05 + MARGIN > free:
        raise AgentError(f"that needs {needs >> 20} MiB, and the drive has only {free >> 20} MiB free")


def flatten(engine: Engine, drive: Path, container: str, name: str, image: Dict[str, Any]) -> str:
    """Make image `name`, with an image's settings, of what a container that does not run sees. Returns the image's id.

    Every setting goes through a commit of a container that has none, as JSON: nothing needs quoting.
    """
    files = engine.copy_flat(container)
    with scratch(engine, drive, {"Image": files, "Cmd": ["-"]}) as bare:
        return engine.commit(bare, name, image)


def flatten_image(engine: Engine, drive: Path, image: Dict[str, Any], name: str) -> str:
    """Make a flat image of a deep one. Returns its id. Raises `AgentError`, with nothing changed."""
    check_space(drive, int(image["Size"]))
    with scratch(engine, drive, {"Image": image["Id"], "Cmd": ["-"], "Entrypoint": []}) as container:
        return flatten(engine, drive, container, name, image)


@contextmanager
def scratch(engine: Engine, drive: Path, body: Dict[str, Any]) -> Iterator[str]:
    """A container that never runs, and goes at the end; after a power cut the next boot removes it.

    Its name is made up and noted before it is there: no container that somebody made can have it.
    """
    name = f"xportal{HALF_MADE}{secrets.token_hex(8)}"
    write_json(drive / SCRATCH, [*(read_json(drive / SCRATCH) or []), name])
    container = engine.create(name, body)
    try:
        yield container
    finally:
        engine.remove(container, volumes=True)
        write_json(drive / SCRATCH, [other for other in read_json(drive / SCRATCH) if other != name])


def as_image(container: Dict[str, Any], image: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """An image's author and settings, for one made of a container: the container's, and what only images have.

    Docker's own commit forgets SHELL and ONBUILD, which no container has.
    """
    own = container["Config"]
    started = {key: own.get(key) for key in ("Cmd", "Entrypoint")}
    before = image or {}
    config = {**(before.get("Config") or {}), **{key: value for key, value in own.items() if value}, **started}
    return {**before, "Config": config}
