"""Before a drive is unmounted: note what runs, end it, commit it, stop Docker."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any, Dict, Optional, Sequence

from ..core.config import AgentConfig
from ..core.deadline import RESERVE, plan_grace
from ..core.files import write_json
from ..core.mounts import find_mount
from ..core.process import Done, run
from ..core.state import read_state
from ..core.steps import Steps
from . import docker
from .commits import Budget, Commits
from .containers import name_volumes, record_from_files, record_running
from .docker_api import Engine
from .notify_programs import tell_programs
from .off_drive import find_warnings
from .stop_containers import patience, stop_containers

WORD = "save.json"


def quiesce(steps: Steps) -> Dict[str, Any]:
    """After it nothing of Docker's is at work any more. Returns {committed, deferred}."""
    config = steps.paths.get_config()
    result: Dict[str, Any] = {"committed": [], "deferred": []}
    if docker.is_running():
        result.update(end_containers(config, steps))
    elif find_mount(config.main.mount):
        record_without_docker(config, steps)
    leave_word(config, steps, result)
    steps.attempt("docker", "Stopping Docker", docker.stop)
    version = read_state(steps.paths)["docker"]
    if version and config.edit and find_mount(config.main.private) and not docker.is_running():
        name = partial(name_volumes, config.main.docker, f"{config.main.mount}/docker", version)
        steps.attempt("volumes", "Noting the paths of volumes for any xportal", name)
    return result


def end_containers(config: AgentConfig, steps: Steps) -> Dict[str, Any]:
    """With Docker running: note what runs, tell programs, SIGTERM, commits."""
    client, drive = docker.Docker(partial(run_soon, steps)), config.main.directory
    infos = steps.attempt("record", "Noting what runs", lambda: record_running(client, drive, steps.save))
    if steps.request.notice:
        steps.attempt("notice", "Telling programs", lambda: tell_programs(steps.paths, steps.request, steps.log))
    if infos is None:
        record_without_docker(config, steps)
        return {}
    running = [info for info in infos if info["State"].get("Running")]
    steps.attempt("warn", "Looking at what they write", partial(warn, config, steps, running))
    times = {info["Id"]: plan_grace(steps.left(), patience(info, steps.request.grace)) for info in running}
    longest = max(times.values(), default=0)
    many = "1 container" if len(running) == 1 else f"{len(running)} containers"
    text = f"Asking {many} to end within {longest} s" if running else "No container runs"
    end = partial(stop_containers, client, times, steps.left)
    why = steps.attempt("stop", text, end, longest + steps.limits.step)
    if why:
        steps.log.say("stop", f"Docker says: {why}")
    # Commits may take the time that is left.
    steps.sync("Writing what containers have written", [config.main.mount])
    budget = Budget(steps.left)
    commits = Commits(Engine(budget.check), docker.Docker(budget.run), drive, steps.log, budget)
    commit = partial(commits.commit_changed, infos)
    return steps.attempt("commit", "Committing what has changed", commit, steps.limits.commit) or {}


def warn(config: AgentConfig, steps: Steps, infos: Sequence[Dict[str, Any]]) -> None:
    """Say what goes with the machine, while it is there."""
    drives = [{"mount": drive.mount} for drive in config.drives]
    for text in chain(*find_warnings(docker.Docker(partial(run_soon, steps)), infos, drives).values()):
        steps.log.say("lost", text)


def run_soon(steps: Steps, argv: Sequence[str], *, check: bool = True, timeout: Optional[float] = None) -> Done:
    """`run`: a Docker that hangs does not take the seconds that the rest needs."""
    if steps.request.at is not None:
        most = max(steps.limits.least, steps.left() - RESERVE)
        timeout = min(timeout or most, most)
    return run(argv, check=check, timeout=timeout)


def record_without_docker(config: AgentConfig, steps: Steps) -> None:
    """Note what ran from Docker's own files."""
    root, drive = config.main.docker, config.main.directory
    steps.attempt("record", "Noting what ran, from Docker's files", lambda: record_from_files(root, drive))


def leave_word(config: AgentConfig, steps: Steps, result: Dict[str, Any]) -> None:
    """What the next machine tells of this one's end."""
    word = {"save": steps.save, **result, "notice": steps.request.notice, "seconds": steps.log.seconds}
    path = config.main.directory / WORD
    if find_mount(config.main.mount):
        steps.attempt("word", "Writing down how this went", lambda: write_json(path, word))
