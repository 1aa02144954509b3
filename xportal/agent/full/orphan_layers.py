"""Layers that Docker had not finished when it was stopped: it neither uses nor removes them, ever.

A commit, a pull or a load that a notice interrupts leaves one each, as large as what was already written. Docker
(20 to 29) notes the layers of images and containers below image/overlay2/layerdb; it makes one in overlay2/ID, with
what it will note in layerdb/tmp/write-set-*, which is moved to its place at the end
(moby: layer/layer_store.go, registerWithDescriptor). BuildKit's ids are shorter, and are left alone.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import List

from ..core.events import Log
from ..core.mounts import list_mounts
from ..core.process import AgentError

LAYER = re.compile("[0-9a-f]{64}")


def remove_orphans(data_root: Path, opened: float, log: Log) -> None:
    """Remove what was begun before the drive was `opened` (seconds since 1970): this Docker is not at work on it.

    Nothing is removed unless Docker left a transaction behind, too. What fails is said; it is tried at the next boot.
    """
    layers, notes = data_root / "overlay2", data_root / "image/overlay2/layerdb"
    begun = [path for path in notes.glob("tmp/write-set-*") if path.stat().st_ctime < opened]
    if not begun:
        return
    with log.step("orphans", "Removing what Docker had not finished when it was stopped"):
        try:
            for layer in find_orphans(layers, notes, opened):
                remove_layer(layer)
                log.say("orphans", f"Layer {layer.name[:12]} is gone")
            for path in begun:
                shutil.rmtree(path)
        except (AgentError, OSError) as error:  # Docker may remove things meanwhile
            log.say("orphans", f"Not all could be removed: {error}")


def find_orphans(layers: Path, notes: Path, opened: float) -> List[Path]:
    """The layers that neither an image nor a container of Docker's has, and that are mounted nowhere."""
    found = [path for path in layers.iterdir() if LAYER.fullmatch(path.name) and path.stat().st_ctime < opened]
    used = {read_id(path / "cache-id") for path in notes.glob("sha256/*")}
    used.update(read_id(path / "mount-id") for path in notes.glob("mounts/*"))
    used.update(Path(mount.point).parent.name for mount in list_mounts())
    return [path for path in found if path.name not in used]


def read_id(path: Path) -> str:
    """Which layer an image or a container has. Raises `AgentError` or OSError if that does not tell.

    Docker does not flush it: after a power cut it may be empty, and then any layer may be that container's.
    """
    id_ = path.read_text(encoding="utf-8").strip()
    if not id_:
        raise AgentError(f"{path} is empty")
    return id_


def remove_layer(layer: Path) -> None:
    """With its short name in l/, as Docker does it."""
    link = layer / "link"
    if link.exists():
        (layer.parent / "l" / link.read_text(encoding="utf-8").strip()).unlink(missing_ok=True)
    shutil.rmtree(layer)
