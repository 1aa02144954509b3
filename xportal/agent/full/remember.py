"""What the portal remembers of its last `up`: tags that the machine puts on the snapshots that it takes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from ..core.config import Paths
from ..core.files import read_json, write_json


def remember(paths: Paths, tags: Dict[str, str]) -> None:
    """Keep them on the root disk: they are this machine's, and outlive a reboot."""
    write_json(kept(paths), tags)


def remembered(paths: Paths) -> Dict[str, str]:
    """What was told last; nothing before the first login. No snapshot fails for what is wrong with it."""
    try:
        tags: Dict[str, str] = read_json(kept(paths)) or {}
    except (OSError, ValueError):
        return {}
    return tags


def kept(paths: Paths) -> Path:
    """Where they are."""
    return paths.root / "var/lib/xportal/remembered.json"
