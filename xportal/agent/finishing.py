"""The last part of a boot, which only the whole agent does: what matters to whoever logs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from . import docker
from .commits import flatten_deep
from .config import AgentConfig, Paths
from .engine import Engine
from .events import Log
from .home import get_user, open_home
from .process import AgentError, run
from .recreating import make_anew
from .state import log_path, read_state, update_state


def finish_boot(config: AgentConfig, paths: Paths, log: Log) -> None:
    """With Docker running and containers back: the home directory, Docker for the login user, the boot's result."""
    with log.step("home", f"Opening the home directory of {config.login_user}"):
        open_home(config)
        run(["usermod", "-a", "-G", "docker", config.login_user])
        docker.give_socket(get_user(config.login_user).pw_uid)
    before = read_state(paths)
    drive = config.main.directory
    notes = {**before["notes"], **fit_containers(drive, len(before["gpus"]), log)}
    seconds = {**before["seconds"], **log.seconds}
    update_state(paths, phase="ready", notes=notes, seconds=seconds)
    result = {"drives": before["drives"], "gpu": (before["gpus"] or [None])[0], "docker": before["docker"]}
    log.end(True, None, {**result, "containers": names(docker.Docker(), notes), "seconds": seconds})
    flatten_deep(Engine(), docker.Docker(), drive, Log(log_path(paths, "flatten")))


def fit_containers(drive: Path, gpus: int, log: Log) -> Dict[str, str]:
    """Make those containers anew that wait for it. Returns notes by id; a failure is said, and the boot goes on."""
    try:
        return make_anew(Engine(), docker.Docker(), drive, gpus, log)
    except AgentError as failure:
        log.say("anew", f"Not all containers could be made anew: {failure}")
        return {}


def names(client: docker.Docker, notes: Dict[str, str]) -> List[Dict[str, Any]]:
    """Each container with its note."""
    infos = client.inspect(client.list_ids())
    return [
        {"name": info["Name"].lstrip("/"), "running": info["State"]["Running"], "note": notes.get(info["Id"]) or None}
        for info in infos
    ]
