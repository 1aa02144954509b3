"""A context of this computer's docker command for a portal: its Docker, over the portal's alias for ssh.

The context names the alias and no machine, so it stays right when the machine changes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from xportal import local
from xportal.errors import DockerFailed, NotInstalled
from xportal.portal.alias import Alias

SECONDS = 20.0


def has_docker() -> bool:
    """Whether this computer has a docker command."""
    return shutil.which("docker") is not None


def keep_context(alias: Alias) -> None:
    """Make the context of the alias's name, if it is not there. Raises DockerFailed, also if the name is taken."""
    host = find_host(alias.name)
    if host == _host(alias):
        return
    if host is not None:
        raise DockerFailed(
            f"docker has a context {alias.name} already, which leads to {host or 'no host'}",
            hint=f"docker context rm {alias.name}, if it is not needed",
        )
    told = f"xportal: portal {alias.place.portal}, {alias.place.region}"
    _docker(["context", "create", alias.name, "--description", told, "--docker", f"host={_host(alias)}"])


def remove_context(alias: Alias) -> None:
    """Remove it, if it is ours. Raises DockerFailed, as when it is the current one."""
    if find_host(alias.name) == _host(alias):
        _docker(["context", "rm", alias.name])


def find_host(context: str) -> str | None:
    """Where a context leads; None if docker has none of that name."""
    done = _run(["context", "inspect", context])
    if done.returncode != 0:
        return None
    try:
        return str(json.loads(done.stdout)[0]["Endpoints"]["docker"].get("Host", ""))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DockerFailed(f"docker context inspect {context}: the answer makes no sense ({error})") from error


def _host(alias: Alias) -> str:
    return f"ssh://{alias.name}"


def _docker(words: Sequence[str]) -> None:
    done = _run(words)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise DockerFailed(f"docker {' '.join(words[:2])}: {said}")


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    except OSError as error:
        raise NotInstalled(f"docker cannot be run on this computer: {local.reason(error)}") from error
    except subprocess.TimeoutExpired as error:
        raise DockerFailed(f"docker {' '.join(words[:2])} did not end in {SECONDS:.0f} s") from error
