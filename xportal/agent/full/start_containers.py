"""From a drive that is open to containers that run."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..core import units
from ..core.config import AgentConfig, DriveConfig, Paths
from ..core.covers import show
from ..core.disk import Disk
from ..core.events import Log
from ..core.files import read_json, write_json
from ..core.process import AgentError
from ..core.state import read_state, update_state
from . import docker
from .containers import bring_back, hold_back
from .gpu import gpu_name, link_devices, list_gpus
from .packages import Dnf, install_docker


def start_containers(config: AgentConfig, paths: Paths, log: Log) -> None:
    """Docker, and what is to run. Until its containers are held back nothing can start Docker (see `units.GUARD`)."""
    paths.fitted.unlink(missing_ok=True)  # of before a rehearsal
    if docker.is_running():
        docker.stop()
    opened = {facts["name"]: Disk(facts["device"], facts["volume_id"]) for facts in read_state(paths)["drives"]}
    for drive in config.drives:  # a core of before has covered nothing
        show(drive, opened[drive.name], config.login_user if drive == config.main else "")
    if not docker.is_installed():
        with log.step("install", "Installing Docker"):
            install_docker(last_docker(config.main), Dnf(log), log)
    docker.write_settings(config, paths)
    with log.step("gpu", "Looking for GPUs"):
        gpus = list_gpus(paths.root)
        if gpus:
            link_devices(log)
    log.say("gpu", f"This machine has {len(gpus)} x {gpu_name(gpus)}" if gpus else "This machine has no GPU")
    update_state(paths, gpus=gpus)
    hold_containers(config, paths, log)
    with log.step("docker", "Starting Docker"):
        paths.fitted.touch()
        docker.start()
    mark_docker(config.main, read_state(paths)["docker"])
    with log.step("containers", "Bringing the containers back"):
        notes = bring_back(docker.Docker(), config.main.directory, log)
    before: Dict[str, Any] = read_state(paths)
    seconds = {**before["seconds"], **log.seconds}
    update_state(paths, started=True, notes={**before["notes"], **notes}, seconds=seconds)


def hold_containers(config: AgentConfig, paths: Paths, log: Log) -> None:
    """With Docker not running: hold its containers back, and fit them to this machine."""
    version = docker.find_version()
    if version is None:
        raise AgentError("this machine's Docker does not tell its version")
    try:
        check_docker(config.main, version)
    except AgentError:
        units.mask_docker()
        raise
    with log.step("hold", "Setting restart policies aside, fitting containers to this machine"):
        gpus = read_state(paths)["gpus"]
        notes = hold_back(config.main.docker, config.main.directory, version, gpus, config.edit)
    update_state(paths, notes=notes, docker=version)


def check_docker(drive: DriveConfig, version: str) -> None:
    """Raises `AgentError` if a newer Docker has worked on the drive: an older one might harm what it left."""
    wrote = last_docker(drive)
    if wrote and docker.major(wrote) > docker.major(version):
        raise AgentError(
            f"Docker {wrote} has worked on drive {drive.name}, and this machine's, {version}, might harm what it left:"
            f" Docker does not start here. The drive needs a machine image with Docker {docker.major(wrote)} or newer"
        )


def last_docker(drive: DriveConfig) -> Optional[str]:
    """The newest Docker that has worked on the drive."""
    wrote: Optional[str] = (read_json(drive.directory / "drive.json") or {}).get("docker")
    return wrote


def mark_docker(drive: DriveConfig, version: str) -> None:
    """Write on the drive which Docker works on it now."""
    path = drive.directory / "drive.json"
    write_json(path, {**(read_json(path) or {}), "docker": version})
