"""The last part of a boot, which only the whole agent does: what matters to whoever logs in."""

from __future__ import annotations

from typing import Any, Dict, List

from . import docker
from .config import AgentConfig, Paths
from .events import Log
from .home import get_user, open_home
from .process import run
from .state import read_state, update_state


def finish_boot(config: AgentConfig, paths: Paths, log: Log) -> None:
    """With Docker running and containers back: the home directory, Docker for the login user, the boot's result."""
    with log.step("home", f"Opening the home directory of {config.login_user}"):
        open_home(config)
        run(["usermod", "-a", "-G", "docker", config.login_user])
        docker.give_socket(get_user(config.login_user).pw_uid)
    before = read_state(paths)
    seconds = {**before["seconds"], **log.seconds}
    update_state(paths, phase="ready", seconds=seconds)
    result = {"drives": before["drives"], "gpu": (before["gpus"] or [None])[0], "docker": before["docker"]}
    log.end(True, None, {**result, "containers": names(docker.Docker(), before["notes"]), "seconds": seconds})


def names(client: docker.Docker, notes: Dict[str, str]) -> List[Dict[str, Any]]:
    """Each container with its note."""
    infos = client.inspect(client.list_ids())
    return [
        {"name": info["Name"].lstrip("/"), "running": info["State"]["Running"], "note": notes.get(info["Id"])}
        for info in infos
    ]
