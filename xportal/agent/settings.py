"""What the user wants machines to do by themselves: on the drive, so that the next machine does it too."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Dict

from .config import Paths
from .files import read_json, write_json
from .process import run
from .units import WATCH

NAME = "alone.json"


@dataclass(frozen=True)
class Settings:
    """Zero and nothing are off."""

    on_notice: str = ""  # a command for the machine's shell, run as the login user when AWS takes the machine back
    idle_minutes: float = 0  # unused for so long, the machine saves and ends itself
    checkpoint_on_rebalance: bool = False
    checkpoint_minutes: float = 0  # between two rolling checkpoints


def get_settings(paths: Paths) -> Settings:
    """What is set now, on the mounted drive."""
    return Settings(**(read_json(paths.get_config().main.directory / NAME) or {}))


def change_settings(paths: Paths, changes: Dict[str, Any]) -> None:
    """Keep what the user sets from now on, and let the watcher know."""
    settings = replace(get_settings(paths), **changes)
    write_json(paths.get_config().main.directory / NAME, asdict(settings))
    run(["systemctl", "try-restart", WATCH], check=False)
