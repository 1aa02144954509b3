"""The last part of a boot, which only the full agent does: what matters to whoever logs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Sequence

from ..core.config import AgentConfig, Paths
from ..core.events import Log
from ..core.files import read_json, remove
from ..core.home import get_user, open_home
from ..core.process import AgentError, run
from ..core.state import log_path, read_state, update_state
from .commits import Commits, flatten_deep
from .docker import Docker
from .docker_api import SOCKET, Engine
from .gpu import gpu_name
from .orphan_layers import remove_orphans
from .quiesce import WORD
from .recreate import make_anew
from .settings import show_settings
from .spare_space import keep_reserve

TIDYING = "tidying"  # the log's name


def finish_boot(config: AgentConfig, paths: Paths, log: Log) -> Dict[str, Any]:
    """With Docker running and containers back: the home directory, Docker for the login user. The boot's result."""
    with log.step("home", f"Letting {config.login_user} use Docker"):
        open_home(config)
        run(["usermod", "-a", "-G", "docker", config.login_user])
        # At once: its sessions that began before it joined the group docker, too.
        os.chown(SOCKET, get_user(config.login_user).pw_uid, -1)
    before = read_state(paths)
    drive = config.main.directory
    keep_reserve(drive)
    notes = {**before["notes"], **fit_containers(drive, before["gpus"], log)}
    seconds = {**before["seconds"], **log.seconds}
    show_settings(paths)
    update_state(paths, phase="ready", notes=notes, seconds=seconds)
    result = {"drives": before["drives"], "gpu": gpu_name(before["gpus"]), "docker": before["docker"]}
    return {**result, "containers": names(Docker(), notes), "seconds": seconds}


def tidy(paths: Paths) -> None:
    """What may take minutes, and nobody waits for: the commits that a save left, and deep images. In its own log.

    Docker holds a container still while it commits it.
    """
    main, log = paths.get_config().main, Log(log_path(paths, TIDYING))
    client, drive = Docker(), main.directory
    opened = (read_json(drive / "drive.json") or {}).get("opened", 0)
    remove_orphans(main.docker, opened, log)
    late = read_state(paths)["late"]
    infos = [info for info in client.inspect(client.list_ids()) if info["Name"].lstrip("/") in late]
    Commits(Engine(), client, drive, log).commit_changed(infos, go_on=True)
    update_state(paths, late=[])
    flatten_deep(Engine(), client, drive, log)


def fit_containers(drive: Path, gpus: Sequence[str], log: Log) -> Dict[str, str]:
    """Make those containers anew that wait for it. Returns notes by id; a failure is said, and the boot goes on."""
    try:
        return make_anew(Engine(), Docker(), drive, gpus, log)
    except AgentError as failure:
        log.say("anew", f"Not all containers could be made anew: {failure}")
        return {}


def tell_before(config: AgentConfig, paths: Paths, log: Log) -> Dict[str, Any]:
    """Tell how the machine before this one ended, if AWS took it, and what it left undone. Returns its last word."""
    late: List[str] = []
    path = config.main.directory / WORD
    word: Dict[str, Any] = read_json(path) or {}
    notice = word.get("notice")
    if notice and "time" in notice:  # and not a rehearsal's
        took = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in word["seconds"].items() if seconds >= 0.1)
        text = f"AWS took the machine before this one at {notice['time']}, and said so {notice['seconds']} s before"
        log.say("before", f"{text}: {took or 'no step took long'}")
        late = [left["container"] for left in word["deferred"]]
        for left in word["deferred"]:
            log.say(
                "before",
                f"{left['container']} was not committed ({left['reason']}): that is done now, in the background",
            )
    update_state(paths, late=late)
    remove(path)
    return word


def names(client: Docker, notes: Dict[str, str]) -> List[Dict[str, Any]]:
    """Each container with its note."""
    infos = client.inspect(client.list_ids())
    return [
        {"name": info["Name"].lstrip("/"), "running": info["State"]["Running"], "note": notes.get(info["Id"]) or None}
        for info in infos
    ]
