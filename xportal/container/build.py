"""Build an image on the machine from a directory of this computer."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xportal.container import buildx, context
from xportal.container.engine import Engine, docker_errors, events, one_line
from xportal.container.options import environment
from xportal.errors import DockerFailed, UsageError
from xportal.reports import BuildReport

_BASE = re.compile(r" : FROM (?:--\S+ )*(\S+)")


def build(
    engine: Engine,
    directory: Path,
    say: Callable[[str], None],
    *,
    tag: str | None = None,
    file: str | None = None,
    build_args: Sequence[str] = (),
    no_cache: bool = False,
    network: str | None = None,
    target: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> BuildReport:
    """Send `directory`, less what its ignore file names, and build it; `say` gets the build's log by lines.

    `file` is the Dockerfile, as `docker build -f` has it, and `build_args` are NAME=VALUE, or NAME for the value in
    `environ`. By buildx, if this computer has it. Raises UsageError if there is nothing to build, DockerFailed with the
    step that failed, LocalFileError.
    """
    dockerfile = _check_context(directory, file)
    arguments = environment(build_args, environ, option="--build-arg")
    socket = engine.socket if buildx.has_buildx(environ) else None
    with docker_errors(f"the build of {directory}"):
        if socket:
            named = (("--tag", tag), ("--network", network), ("--target", target))
            options = [word for name, value in named if value for word in (name, value)]
            options += ["--file", str(dockerfile), *(["--no-cache"] if no_cache else [])]
            options += [word for argument in build_args for word in ("--build-arg", argument)]
            image_id = buildx.build(engine, socket, directory, options, say)
        else:
            image_id = _build_plainly(engine, directory, dockerfile, say, tag, arguments, no_cache, network, target)
        image = engine.client.images.get(image_id)
    return BuildReport(str(image.id), tag)


def _build_plainly(
    engine: Engine,
    directory: Path,
    dockerfile: Path,
    say: Callable[[str], None],
    tag: str | None,
    arguments: Sequence[str],
    no_cache: bool,
    network: str | None,
    target: str | None,
) -> str:
    """Without BuildKit, by the API alone. Returns the image's id."""
    archive, name = context.pack(directory, dockerfile)
    with archive:
        log = engine.client.api.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=name,
            tag=tag,
            buildargs=dict(item.partition("=")[::2] for item in arguments),
            nocache=no_cache,
            network_mode=network,
            target=target or "",
            rm=True,
            forcerm=True,  # a step that a save ends is no container that comes back
            decode=True,
            use_config_proxy=False,  # the proxy of this computer is none for the machine
        )
        return _follow(engine, directory, log, say)


def _check_context(directory: Path, file: str | None) -> Path:
    """The Dockerfile."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="xportal build PORTAL DIR, with a Dockerfile in DIR")
    dockerfile = directory / "Dockerfile" if file is None else Path(file)
    if not dockerfile.is_file():
        raise UsageError(f"there is no {dockerfile}", hint="-f FILE names another Dockerfile")
    return dockerfile


def _follow(engine: Engine, directory: Path, log: Any, say: Callable[[str], None]) -> str:
    from docker.errors import DockerException

    image_id = step = ""
    try:
        for event in events(log):
            for line in str(event.get("stream", "")).splitlines():
                if line.strip():
                    say(line.rstrip())
                step = line if line.startswith("Step ") else step
            image_id = (event.get("aux") or {}).get("ID", image_id)
    except DockerException as error:
        raise _failure(engine, directory, step, one_line(error)) from error
    if not image_id:
        raise DockerFailed(f"the build of {directory} ended without an image")
    return image_id


def _failure(engine: Engine, directory: Path, step: str, said: str) -> DockerFailed:
    hint = ""
    if "BuildKit" in said:
        hint = f"install buildx on this computer, or build here, then xportal push {engine.portal} IMAGE"
    elif base := _BASE.search(step):
        image = shlex.quote(base[1])
        hint = f"the machine has no {image} and cannot pull it: xportal push {engine.portal} {image}"
    return DockerFailed(f"the build of {directory} failed: {said}", hint=hint)
