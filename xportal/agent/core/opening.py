"""`agent open` and `agent ready`: from a machine that just boots to containers that run."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import Any, Callable, Dict

from . import docker, units
from .config import AgentConfig, DriveConfig, Paths
from .containers import bring_back, hold_back
from .dirty import bound_dirty
from .disk import is_there
from .drives import check_docker, mark_docker, mark_drive, open_drive
from .events import Log
from .extensions import Extensions
from .files import remove
from .gpu import list_gpus
from .home import let_keys_in, open_home
from .mounts import find_mount, try_unmount
from .process import AgentError, run
from .state import log_path, one_at_a_time, read_state, update_state


def open_machine(paths: Paths) -> bool:
    """The part before users and network exist: drives mounted, Docker made ready but not started. Idempotent.

    Returns whether it went well. If not, nothing of ours stays mounted, so that Docker cannot start.
    """
    return told(paths, lambda log: open_all(paths, log))


def make_ready(paths: Paths, more: Extensions) -> bool:
    """The part that needs users and network: Docker, containers, home. Idempotent; returns whether it went well.

    Asked for twice in a boot: by systemd, and by `up` once the full agent is there.
    """
    return told(paths, lambda log: finish(paths, log, more))


def make_home(paths: Paths) -> bool:
    """The login user's home, before anybody logs in. Returns whether it went well."""
    return told(paths, lambda log: open_home(paths.get_config()))


def told(paths: Paths, work: Callable[[Log], None]) -> bool:
    """Do some of the boot's work; if it fails, the log and the state say so in words."""
    with one_at_a_time(paths):
        log = Log(log_path(paths, "boot"))
        try:
            work(log)
        except Exception as error:
            words = str(error) if isinstance(error, AgentError) else f"unexpected: {error!r}"
            if not isinstance(error, AgentError):
                traceback.print_exc()
            update_state(paths, phase="saved" if paths.saved.exists() else "failed", error=words)
            log.end(False, words, {})
            return False
        return True


def open_all(paths: Paths, log: Log) -> None:
    """What `open_machine` does. Docker is guarded before anything can fail."""
    config = paths.get_config()
    units.install(config, paths)
    let_keys_in(paths)
    run(["systemctl", "start", "--no-block", units.HOME])
    if paths.saved.exists():
        raise AgentError("this machine has made its final save: it does not open the drive again")
    if read_state(paths)["phase"] in ("open", "ready"):
        log.say("open", "The drive is open already")
        return
    update_state(paths, phase="opening", error=None, portal=config.portal, launch=config.launch)
    if config.attach and not is_there(config.drives[-1], paths):
        log.say("device", "The drive's volume is not attached yet: it is opened when it is")
        run(["systemctl", "start", "--no-block", units.APPEAR])
        return
    if docker.is_running():
        docker.stop()
    # As on every systemd machine, but not in every container: else services keep a view of the drive of their own.
    run(["mount", "--make-rshared", "/"])
    with contextlib.ExitStack() as undo:
        facts = [open_one(config, index, paths, log, undo) for index in range(len(config.drives))]
        docker.write_settings(config, paths)
        gpus = list_gpus(paths.root)
        log.say("gpu", f"This machine has {len(gpus)} x {gpus[0]}" if gpus else "This machine has no GPU")
        update_state(paths, drives=facts, gpus=gpus)
        if docker.is_installed():
            hold_containers(config, paths, log)
        undo.pop_all()
    update_state(paths, phase="open", seconds=log.seconds)
    run(["systemctl", "start", "--no-block", units.READY, units.WATCH, units.LEAVE])


def open_one(config: AgentConfig, index: int, paths: Paths, log: Log, undo: contextlib.ExitStack) -> Dict[str, Any]:
    """Open one drive; register its unmounting first."""
    drive = config.drives[index]
    undo.callback(close_one, drive)
    facts = open_drive(drive, paths, log)
    log.say("dirty", bound_dirty(facts["device"]))
    mark_drive(drive, config, log)
    remove(drive.notice)
    return facts


def close_one(drive: DriveConfig) -> None:
    """Undo the mounting of a drive, so that Docker does not start."""
    there = find_mount(drive.mount)
    if there is not None:
        try_unmount(there.source)


def hold_containers(config: AgentConfig, paths: Paths, log: Log) -> None:
    """With Docker installed and not running: hold its containers back."""
    version = docker.find_version()
    if version is None:
        raise AgentError("this machine's Docker does not tell its version")
    try:
        check_docker(config.main, version)
    except AgentError:
        units.mask_docker()
        raise
    with log.step("hold", "Setting restart policies aside, fitting containers to this machine"):
        gpus = len(read_state(paths)["gpus"])
        notes = hold_back(Path(config.main.mount, "docker"), config.main.directory, version, gpus, config.edit)
    update_state(paths, notes=notes, docker=version)


def finish(paths: Paths, log: Log, more: Extensions) -> None:
    """What `make_ready` does: what the core can do at once; what only the full agent can, once that has come."""
    if read_state(paths)["phase"] != "open":
        return
    config = paths.get_config()
    open_home(config)
    if not read_state(paths)["started"]:
        start_containers(config, paths, log)
    if more.finish_boot(config, paths, log):
        # From now on it looks for more than the core does.
        run(["systemctl", "try-restart", units.WATCH], check=False)


def start_containers(config: AgentConfig, paths: Paths, log: Log) -> None:
    """With the drive open: Docker, and what is to run."""
    with log.step("docker", "Starting Docker"):
        start_docker(config, paths, log)
    with log.step("containers", "Bringing the containers back"):
        notes = bring_back(docker.Docker(), config.main.directory, log)
    before = read_state(paths)
    seconds = {**before["seconds"], **log.seconds}
    update_state(paths, started=True, notes={**before["notes"], **notes}, seconds=seconds)


def start_docker(config: AgentConfig, paths: Paths, log: Log) -> None:
    """Install Docker where it is missing, and start it."""
    if not docker.is_installed():
        with log.step("install", "Installing Docker"):
            docker.install()
        hold_containers(config, paths, log)
    docker.start()
    mark_docker(config.main, read_state(paths)["docker"])
