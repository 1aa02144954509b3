"""An image from this computer's Docker to the machine's, without the layers that are there already."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xportal import local
from xportal.container.archive import Archive, Part, count_shared, plan_part, read_archive, read_part
from xportal.container.engine import Engine, docker_errors, events
from xportal.errors import DockerFailed, UsageError
from xportal.reports import PushReport

if TYPE_CHECKING:
    from docker import DockerClient

CHUNK = 1 << 20
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Progress:
    """How far a push is; sizes in bytes. `step` is "saving", "sending" or "loading", exact for "sending" alone."""

    step: str
    done: int
    total: int


def push(engine: Engine, local: DockerClient, image: str, progress: Callable[[Progress], None]) -> PushReport:
    """Bring an image to the machine under the same name, if it is not there. Idempotent.

    Raises UsageError if this computer has no such image or it is for another architecture, DockerFailed.
    """
    inspected = _inspect_local(local, image)
    _check_architecture(engine, image, inspected)
    if _has_image(engine, inspected["Id"]):
        _tag(engine, inspected["Id"], image, inspected["RepoTags"])
        return PushReport(image, inspected["Id"], 0, len(inspected["RootFS"]["Layers"]), 0, inspected["Size"])
    with _spool() as file:
        _save(local, image, inspected["Size"], file, progress)
        archive = read_archive(file)
        part = plan_part(archive, count_shared(archive.layers, _layers_on(engine)))
        part = _load_verified(engine, file, archive, part, progress)
    _tag(engine, archive.image_id, image, inspected["RepoTags"])
    return PushReport(image, archive.image_id, part.sent_layers, part.skipped_layers, part.size, part.skipped_bytes)


def _inspect_local(local: DockerClient, image: str) -> dict[str, Any]:
    from docker.errors import ImageNotFound

    with docker_errors(f"image {image} on this computer"):
        try:
            inspected: dict[str, Any] = local.images.get(image).attrs
        except ImageNotFound as error:
            raise UsageError(
                f"the Docker of this computer has no image {image}", hint="docker images lists what it has"
            ) from error
    return inspected


def _check_architecture(engine: Engine, image: str, inspected: dict[str, Any]) -> None:
    with docker_errors("Docker on the machine"):
        machine = engine.client.api.info()["Architecture"]
    wanted = _MACHINES.get(machine, machine)
    if inspected["Architecture"] != wanted:
        raise UsageError(
            f"image {image} is for {inspected['Architecture']}, the machine is {wanted}",
            hint=f"docker build --platform linux/{wanted} makes one for it, or build on it: xportal build",
        )


def _has_image(engine: Engine, image_id: str) -> bool:
    from docker.errors import ImageNotFound

    with docker_errors(f"image {image_id}"):
        try:
            engine.client.images.get(image_id)
        except ImageNotFound:
            return False
    return True


@contextmanager
def _spool() -> Iterator[BinaryIO]:
    """A nameless file where gigabytes may go: TMPDIR if set, else /var/tmp (/tmp may be memory)."""
    large = Path("/var/tmp")
    directory = None if "TMPDIR" in os.environ or not large.is_dir() else large
    with local.files("a file for the image", hint="TMPDIR=DIR names a directory with room for it"):
        spool = tempfile.TemporaryFile(prefix="xportal-push-", dir=directory)  # noqa: SIM115  closed below
    with spool as file:
        yield file


def _save(local: DockerClient, image: str, size: int, file: BinaryIO, progress: Callable[[Progress], None]) -> None:
    from requests.exceptions import RequestException

    done = 0
    try:
        with docker_errors(f"docker save {image}"):
            for data in local.api.get_image(image, chunk_size=CHUNK):
                file.write(data)
                done += len(data)
                progress(Progress("saving", min(done, size), size))
            file.flush()
    except RequestException as error:
        raise DockerFailed(f"docker save {image}: {error}") from error
    except OSError as error:
        raise DockerFailed(
            f"docker save {image}: {error.strerror}", hint="TMPDIR names a directory with room for the image"
        ) from error
    file.seek(0)


def _layers_on(engine: Engine) -> list[list[str]]:
    """The DiffIDs of every image on the machine."""
    from docker.errors import ImageNotFound

    layers = []
    with docker_errors("the images on the machine"):
        for image_id in engine.client.api.images(quiet=True):
            try:
                layers.append(engine.client.images.get(image_id).attrs["RootFS"].get("Layers") or [])
            except ImageNotFound:
                continue  # removed in between
    return layers


def _load_verified(
    engine: Engine, file: BinaryIO, archive: Archive, part: Part, progress: Callable[[Progress], None]
) -> Part:
    """Load `part`, and everything if the image is not there then; what was sent in the end."""
    whole = plan_part(archive, 0)
    try:
        _load(engine, file, part, progress)
    except DockerFailed:
        if part == whole:
            raise
    if part != whole and not _has_image(engine, archive.image_id):
        part = whole
        _load(engine, file, part, progress)
    if not _has_image(engine, archive.image_id):
        raise DockerFailed(f"Docker on the machine took the image but does not have {archive.image_id}")
    return part


def _load(engine: Engine, file: BinaryIO, part: Part, progress: Callable[[Progress], None]) -> None:
    """POST /images/load. Raises DockerFailed with Docker's words."""
    body = _counted(read_part(file, part), part.size, progress)
    with docker_errors("the machine's Docker did not load the image"):
        loaded: dict[str, int] = {}
        for event in events(engine.client.api.load_image(body, quiet=False)):  # type: ignore[no-untyped-call]
            if event.get("progressDetail"):
                loaded[event["id"]] = event["progressDetail"]["current"]
                progress(Progress("loading", min(sum(loaded.values()), part.size), part.size))


def _counted(chunks: Iterable[bytes], total: int, progress: Callable[[Progress], None]) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        progress(Progress("sending", done, total))


def _tag(engine: Engine, image_id: str, image: str, tags: list[str] | None) -> None:
    """Give it the name it was asked for by, if that is a name (and no id)."""
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    tag = tag or "latest"
    if f"{repository}:{tag}" in (tags or ()):
        with docker_errors(f"the tag {image}"):
            engine.client.api.tag(image_id, repository, tag)
