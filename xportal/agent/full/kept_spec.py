"""The spec's file that the portal was brought up with, as its user wrote it: on the drive, for whoever asks later."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..core.config import Paths
from ..core.files import read_json, write_json
from ..core.mounts import find_mount
from ..core.process import AgentError
from ..core.state import one_at_a_time

NAME = "spec.json"


def keep_spec(paths: Paths, told: Dict[str, Any]) -> None:
    """Put {file, digest, text} in the place of what was kept. Raises `AgentError` unless the drive is open."""
    with one_at_a_time(paths):
        main = paths.get_config().main
        if find_mount(main.mount) is None:
            raise AgentError(f"drive {main.name} is not open on this machine, and the spec is kept on it")
        write_json(main.directory / NAME, told)


def kept_spec(paths: Paths) -> Optional[Dict[str, Any]]:
    """What was kept last; None if nothing was."""
    told: Optional[Dict[str, Any]] = read_json(paths.get_config().main.directory / NAME)
    return told
