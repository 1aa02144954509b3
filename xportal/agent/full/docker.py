"""Docker on this machine: its settings, its units, its command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..core.config import AgentConfig, Paths
from ..core.files import write_whole
from ..core.process import AgentError, Done, run, wait_until

SOCKET = Path("/run/docker.sock")
ANSWER_SECONDS = 30.0
START_SECONDS = 300.0  # that one container may take whose image comes from a snapshot block by block
STOP_SECONDS = 15.0  # dockerd takes as long for containers that are still there


def merge_daemon_json(text: str, data_root: str) -> str:
    """The machine's daemon.json with ours put in; what else it says (the image's GPU runtimes) stays.

    Never hosts, containerd or default-ulimits: distributions give those as flags, and dockerd refuses both.
    """
    try:
        settings = json.loads(text or "{}")
    except ValueError as error:
        raise AgentError(f"/etc/docker/daemon.json is not JSON: {error}") from error
    features = {**settings.get("features", {}), "containerd-snapshotter": False}
    ours = {"data-root": data_root, "storage-driver": "overlay2", "live-restore": False, "features": features}
    return json.dumps({**settings, **ours}, indent=1) + "\n"


def write_settings(config: AgentConfig, paths: Paths) -> None:
    """Point Docker at the drive."""
    old = paths.daemon_json.read_text(encoding="utf-8") if paths.daemon_json.exists() else ""
    write_whole(paths.daemon_json, merge_daemon_json(old, str(config.main.docker)))


def is_installed() -> bool:
    """Whether there is a Docker daemon to run."""
    return shutil.which("dockerd") is not None


def find_version() -> Optional[str]:
    """The daemon's version, without asking it: it need not run."""
    found = re.search(r"version (\d+\.\d+[^, ]*)", run(["dockerd", "--version"], check=False).out)
    return found.group(1) if found else None


def major(version: str) -> int:
    """20 for 20.10.24."""
    return int(version.partition(".")[0])


def start() -> None:
    """Start Docker and wait until it answers. Raises `AgentError` with Docker's own last words."""
    if run(["systemctl", "start", "docker.socket", "docker.service"], check=False).status:
        words = run(["journalctl", "-u", "docker.service", "-t", "dockerd", "-n", "1", "-o", "cat"], check=False).out
        raise AgentError(f"Docker did not start: {words.strip() or 'see journalctl -u docker'}")


def stop() -> None:
    """Stop Docker and the socket that would start it again; kill it if it does not end.

    In a shutdown systemd stops Docker only after those who were started after it, and the caller may be one of them:
    so it is not systemd that is waited for, and Docker is told directly.
    """
    run(["systemctl", "stop", "--no-block", "docker.socket", "docker.service"], check=False)
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = find_daemon()
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, number)
        if wait_until(lambda: not find_daemon(), STOP_SECONDS):
            return


def find_daemon() -> int:
    """The daemon's process id; 0 if it does not run."""
    return int(run(["systemctl", "show", "-p", "MainPID", "--value", "docker.service"], check=False).out or 0)


def is_running() -> bool:
    """Whether the daemon runs."""
    return run(["systemctl", "is-active", "-q", "docker.service"], check=False).status == 0


def give_socket(uid: int) -> None:
    """Let the login user use Docker at once: its sessions that began before it joined the group docker, too."""
    os.chown(SOCKET, uid, -1)


class Docker:
    """Docker's command line. Its arguments are data; nothing passes through a shell.

    Every call that does not return why it failed raises `AgentError` if Docker does not answer in time.
    """

    def __init__(self, run_docker: Callable[..., Done] = run) -> None:
        self._run = run_docker

    def list_ids(self, *, running: bool = False) -> List[str]:
        """The ids of all containers, or of those that run."""
        return self._docker("ps", "-q", "--no-trunc", *([] if running else ["-a"])).out.split()

    def inspect(self, ids: Sequence[str]) -> List[Dict[str, Any]]:
        """Everything Docker knows about these containers, less those that have gone meanwhile."""
        if not ids:
            return []
        got = self._docker("container", "inspect", *ids, check=False)
        return list(json.loads(got.out or "[]"))

    def layer_bytes(self, container: str) -> int:
        """What the container has written to its own layer. Reads the whole layer's directory."""
        return int(self._docker("container", "inspect", "-s", "-f", "{{.SizeRw}}", container, timeout=None).out)

    def is_changed(self, container: str) -> bool:
        """Whether the container's own layer differs from its image."""
        return bool(self._docker("diff", container, timeout=None).out.strip())

    def start(self, container: str) -> Optional[str]:
        """Start a container. Returns why it did not, or None."""
        return self._why("start", container, timeout=START_SECONDS)

    def set_policy(self, container: str, policy: Dict[str, Any]) -> Optional[str]:
        """Set the restart policy (as in hostconfig.json). Returns why it could not, or None."""
        name, count = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
        restart = f"{name}:{count}" if name == "on-failure" and count else name
        return self._why("update", "--restart", restart, container)

    def stop(self, containers: Sequence[str], seconds: Optional[int] = None) -> Optional[str]:
        """SIGTERM to all at once, SIGKILL to those that are left after `seconds`. Returns what went wrong, or None.

        Without `seconds` each gets the time that it was made with, or Docker's ten seconds.
        """
        own = [] if seconds is None else ["-t", str(seconds)]
        timeout = START_SECONDS if seconds is None else seconds + ANSWER_SECONDS
        return self._why("stop", *own, *containers, timeout=timeout) if containers else None

    def kill(self, containers: Sequence[str]) -> Optional[str]:
        """SIGKILL at once. Returns what went wrong, or None."""
        return self._why("kill", *containers)

    def volume_options(self, names: Sequence[str]) -> Dict[str, Dict[str, str]]:
        """The options that volumes were made with, by name, where there are any."""
        got = self._docker("volume", "inspect", *names, check=False).out if names else ""
        return {volume["Name"]: volume["Options"] for volume in json.loads(got or "[]") if volume["Options"]}

    def tags(self, image: str) -> Optional[List[str]]:
        """An image's names; None if there is no such image."""
        got = self._docker("image", "inspect", "-f", "{{json .RepoTags}}", image, check=False)
        return list(json.loads(got.out) or []) if got.status == 0 else None

    def remove_image(self, image: str) -> Optional[str]:
        """Remove an image. Returns why it could not be (it is in use), or None."""
        return self._why("rmi", image)

    def _docker(self, *argv: str, check: bool = True, timeout: Optional[float] = ANSWER_SECONDS) -> Done:
        return self._run(["docker", *argv], check=check, timeout=timeout)

    def _why(self, *argv: str, timeout: float = ANSWER_SECONDS) -> Optional[str]:
        try:
            done = self._docker(*argv, check=False, timeout=timeout)
        except AgentError as error:
            return str(error)
        return None if done.status == 0 else " ".join(done.err.split()) or f"status {done.status}"
