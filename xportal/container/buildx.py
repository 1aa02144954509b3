"""Builds by this computer's buildx, with the BuildKit of the machine's Docker: cache mounts, secrets, heredocs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xportal import local
from xportal.container.engine import Engine
from xportal.errors import DockerFailed

LOOK_S = 20
# What would have docker ask another Docker than the one of DOCKER_HOST, or another builder than its own.
ELSEWHERE = {
    *("BUILDKIT_HOST", "BUILDX_BUILDER", "DOCKER_API_VERSION", "DOCKER_CERT_PATH", "DOCKER_CONTEXT", "DOCKER_TLS"),
    "DOCKER_TLS_VERIFY",
}
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_BASE = re.compile(
    r"failed to solve: (\S+): (?:failed to (?:resolve|do request|authorize)|pull access denied|not found)"
)


def has_buildx(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this computer's docker has it; DOCKER_BUILDKIT=0 asks to build without, as with docker itself."""
    if environ.get("DOCKER_BUILDKIT") in ("0", "false"):
        return False
    try:
        asked = subprocess.run(["docker", "buildx", "version"], capture_output=True, timeout=LOOK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def build(engine: Engine, socket: str, directory: Path, options: Sequence[str], say: Callable[[str], None]) -> str:
    """Build on the Docker behind a unix socket; the image's id. `options` are docker's. Raises DockerFailed."""
    with local.files("a directory for the image's id"), tempfile.TemporaryDirectory(prefix="xportal-") as home:
        told = Path(home) / "image"
        status, said = _follow(build_argv(directory, told, options), plan_environment(os.environ, socket), say)
        image = told.read_text().strip() if told.exists() else ""
    if status:
        raise _failure(engine, directory, said)
    if not _IMAGE.fullmatch(image):
        raise DockerFailed(f"the build of {directory} ended without an image")
    return image


def build_argv(directory: Path, told: Path, options: Sequence[str]) -> list[str]:
    """The command line. Its builder is the Docker's own, so the image is there where it is built."""
    fixed = ["docker", "buildx", "build", "--builder", "default", "--load", "--progress", "plain"]
    return [*fixed, "--iidfile", str(told), *options, *_without_proxy(options), "--", str(directory)]


def plan_environment(environ: Mapping[str, str], socket: str) -> dict[str, str]:
    """The environment of the command: this process's, which has the values of `--build-arg NAME`."""
    return {
        **{name: value for name, value in environ.items() if name not in ELSEWHERE},
        "DOCKER_HOST": f"unix://{socket}",
    }


def _without_proxy(options: Sequence[str]) -> list[str]:
    """The proxy of this computer is none for the machine: docker would pass on what its configuration says."""
    from docker.utils.config import load_general_config
    from docker.utils.proxy import ProxyConfig

    proxies = load_general_config().get("proxies", {}).get("default", {})
    names = ProxyConfig.from_dict(proxies).get_environment() if proxies else {}
    given = {option.partition("=")[0] for option in options}
    return [word for name in names if name not in given for word in ("--build-arg", f"{name}=")]


def _follow(argv: Sequence[str], environ: Mapping[str, str], say: Callable[[str], None]) -> tuple[int, str]:
    """Tell what it writes, by lines. Returns its exit status, and the line that says why it failed."""
    said = ""
    with subprocess.Popen(
        argv, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as program:
        try:
            for data in program.stdout or ():
                line = data.decode(errors="replace").rstrip()
                if line:
                    say(line)
                if line and not said.startswith("ERROR: "):
                    said = line
        except BaseException:
            program.terminate()
            raise
    return program.returncode, said.removeprefix("ERROR: ")


def _failure(engine: Engine, directory: Path, said: str) -> DockerFailed:
    found = _BASE.search(said)
    image = shlex.quote(found[1]) if found else ""
    hint = f"the machine has no {image} and cannot pull it: xportal push {engine.portal} {image}" if found else ""
    return DockerFailed(f"the build of {directory} failed: {said}", hint=hint)
