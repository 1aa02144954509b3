"""The containers of a spec on a machine that is ready: missing ones are made, changed ones made anew, all others left.

A container carries the digest of the definition that made it, as a label. Making one anew never leaves the portal with
neither: the old one gets another name, and is removed only once the new one has started. What breaks off in between is
settled by the next `up`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xportal.container import Engine, RunOptions, create, ensure_image, find_early_end, start
from xportal.container.engine import docker_errors
from xportal.errors import ContainerConflict, SpecContainersFailed, XportalError
from xportal.progress import Progress
from xportal.reports import SpecContainerReport
from xportal.spec import ContainerSpec, FileSpec

if TYPE_CHECKING:
    from docker.models.containers import Container as DockerContainer

DIGEST_LABEL = "xportal.spec"  # of the definition that a container was made of
OLD = "xportal-old-"  # before the name of a container that is being made anew
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


def converge(engine: Engine, file: FileSpec, progress: Progress) -> tuple[SpecContainerReport, ...]:
    """Each container of the file as it defines it, one after the other.

    Raises SpecContainersFailed once all were tried, if some could not be made; those are as they were.
    """
    told = _Hiding(progress, file)
    done: list[SpecContainerReport] = []
    failed: list[XportalError] = []
    for spec in file.containers:
        try:
            done.append(SpecContainerReport(spec.name, _settle(engine, spec, told)))
        except XportalError as error:
            told.warn(f"container {spec.name}: {error.message}")
            failed.append(error)
    _tell_others(engine, file, progress)
    if failed:
        first = failed[0]
        raise SpecContainersFailed(
            f"{len(failed)} of {len(file.containers)} containers of {file.follows.file} are not as it defines them: "
            f"{file.without_hidden(first.message)}",
            hint=file.without_hidden(first.hint),
        )
    return tuple(done)


def options_of(spec: ContainerSpec, volumes: Sequence[str] = ()) -> RunOptions:
    """The same container, as `xportal run` is asked for it; `volumes` are those that it takes over."""
    program, *words = spec.entrypoint or ("",)
    return RunOptions(
        image=spec.image,
        command=(*words, *spec.command),
        name=spec.name,
        env=spec.environment,
        ports=spec.ports,
        mounts=(*spec.volumes, *volumes),
        workdir=spec.working_dir,
        user=spec.user,
        shm_size=spec.shm_size,
        ipc=spec.ipc,
        ulimits=spec.ulimits,
        memory=spec.mem_limit,
        entrypoint=program or None,
        restart=spec.restart,
        network=spec.network_mode,
        labels=(*spec.labels, f"{DIGEST_LABEL}={spec.digest()}"),
        init=spec.init,
        gpu=spec.gpus,
    )


def _settle(engine: Engine, spec: ContainerSpec, progress: Progress) -> str:
    """What was done for one container: `made`, `made anew`, or `left alone`."""
    _settle_broken_off(engine, spec)
    there = _find(engine, spec.name)
    if there is None:
        _start(engine, spec, (), progress)
        progress.say(f"container {spec.name} is made")
        return "made"
    told = there.labels.get(DIGEST_LABEL)
    if told == spec.digest() and there.status != "created":
        return "left alone"
    if told == spec.digest():  # an `up` was cut off before it started what it had made
        with docker_errors(f'container "{spec.name}"'):
            there.start()
        progress.say(f"container {spec.name} is made")
        return "made"
    if told is None:
        raise ContainerConflict(
            f'there is a container "{spec.name}" that no spec made, and it stays',
            hint=f"xportal rm -f {engine.portal} {spec.name} removes it; then up makes that of the spec",
        )
    ensure_image(engine, spec.image, progress.update)
    _make_anew(engine, spec, there, progress)
    progress.say(f"container {spec.name} is made anew, as its definition changed")
    return "made anew"


def _make_anew(engine: Engine, spec: ContainerSpec, old: DockerContainer, progress: Progress) -> None:
    """Stop the old one, start the new one in its place, remove the old one; if the new one does not start, the old one
    goes on. Its anonymous volumes are the new one's.
    """
    was_running = old.status == "running"
    with docker_errors(f'container "{spec.name}"'):
        volumes = _anonymous_volumes(old.attrs, spec)
        old.stop()
        old.rename(f"{OLD}{spec.name}")
    try:
        _start(engine, spec, volumes, progress)
    except BaseException:
        with docker_errors(f'container "{spec.name}"'):
            _restore(engine, spec.name, old, started=was_running)
        raise
    with docker_errors(f'container "{spec.name}"'):
        old.remove()


def _start(engine: Engine, spec: ContainerSpec, volumes: Sequence[str], progress: Progress) -> None:
    started = create(engine, options_of(spec, volumes), progress.update)
    start(engine, started)
    status = find_early_end(engine, started, seconds=1)
    if status is not None:
        progress.warn(
            f"container {spec.name} ended at once, with status {status}: xportal logs {engine.portal} {spec.name}"
        )


def _restore(engine: Engine, name: str, old: DockerContainer, *, started: bool) -> None:
    """The old container in its place again."""
    if half := _find(engine, name):
        half.remove(force=True)
    old.rename(name)
    if started:
        old.start()


def _settle_broken_off(engine: Engine, spec: ContainerSpec) -> None:
    """An earlier `up` was cut off while it made the container anew: if the new one never started, the old one has its
    name again; else the old one goes.
    """
    old = _find(engine, f"{OLD}{spec.name}")
    if old is None:
        return
    new = _find(engine, spec.name)
    with docker_errors(f'container "{spec.name}"'):
        if new is None or new.status == "created":
            _restore(engine, spec.name, old, started=False)
        else:
            old.remove()


def _anonymous_volumes(inspected: dict[str, Any], spec: ContainerSpec) -> list[str]:
    """Those of the old container, as binds of the new one, but where it mounts something itself."""
    taken = {volume.split(":")[1] if ":" in volume else "" for volume in spec.volumes}
    return [
        f"{mount['Name']}:{mount['Destination']}"
        for mount in inspected.get("Mounts") or ()
        if mount.get("Type") == "volume" and _ANONYMOUS.fullmatch(mount["Name"]) and mount["Destination"] not in taken
    ]


def _tell_others(engine: Engine, file: FileSpec, progress: Progress) -> None:
    """Containers of an earlier spec, which the file has no more."""
    defined = {spec.name for spec in file.containers}
    with docker_errors("the list of containers"):
        listed = engine.client.containers.list(all=True, filters={"label": DIGEST_LABEL}, ignore_removed=True)
    for name in sorted(str(one.name) for one in listed):
        if name not in defined and not name.startswith(OLD):
            progress.warn(
                f"container {name} is no longer in {file.follows.file}, and stays: "
                f"xportal rm -f {engine.portal} {name} removes it"
            )


def _find(engine: Engine, name: str) -> DockerContainer | None:
    from docker.errors import NotFound

    with docker_errors(f'container "{name}"'):
        try:
            return engine.client.containers.get(name)
        except NotFound:
            return None


class _Hiding:
    """A Progress that tells no value of this computer's environment."""

    def __init__(self, progress: Progress, file: FileSpec) -> None:
        self._progress = progress
        self._shown = file.without_hidden

    def say(self, text: str) -> None:
        self._progress.say(self._shown(text))

    def warn(self, text: str) -> None:
        self._progress.warn(self._shown(text))

    def update(self, text: str) -> None:
        self._progress.update(self._shown(text))
