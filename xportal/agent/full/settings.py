"""What the user wants machines to do by themselves: on the drive, so that the next machine does it too."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Optional

from ..core.config import Paths
from ..core.files import read_json, write_json
from ..core.mounts import find_mount
from ..core.process import AgentError, run
from ..core.state import one_at_a_time, update_state
from ..core.units import WATCH

NAME = "alone.json"


@dataclass(frozen=True)
class Settings:
    """Zero and nothing are off."""

    on_notice: str = ""  # a command for the machine's shell, run as the login user when AWS takes the machine back
    idle_minutes: float = 0  # unused for so long, the machine saves and ends itself
    checkpoint_on_rebalance: bool = False
    checkpoint_minutes: float = 0  # between two rolling checkpoints


def get_settings(paths: Paths) -> Settings:
    """What is set now, on the mounted drive. What another version of xportal has set there besides is left out."""
    told = read_json(paths.get_config().main.directory / NAME) or {}
    known = {field.name for field in fields(Settings)}
    return Settings(**{key: value for key, value in told.items() if key in known})


def show_settings(paths: Paths) -> None:
    """Have the state say what is set: whoever asks for the status need not be root, who alone reads the drive's."""
    try:
        told: Optional[Dict[str, Any]] = asdict(get_settings(paths))
    except (OSError, ValueError, TypeError, AttributeError):  # the watcher says what is wrong with it
        told = None
    update_state(paths, settings=told)


def change_settings(paths: Paths, changes: Dict[str, Any]) -> None:
    """Keep what the user sets from now on, and let the watcher know. Raises `AgentError` unless the drive is open."""
    with one_at_a_time(paths):
        main = paths.get_config().main
        if find_mount(main.mount) is None:
            raise AgentError(f"drive {main.name} is not open on this machine, and what is set is kept on it")
        settings = replace(get_settings(paths), **changes)
        write_json(main.directory / NAME, asdict(settings))
        show_settings(paths)
    run(["systemctl", "try-restart", WATCH], check=False)
