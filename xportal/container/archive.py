"""An archive of `docker save`: which image it holds, and the parts of it that a machine still needs.

Both layouts: Docker before 25 writes a directory a layer (<id>/layer.tar, a link where a layer
occurs twice), newer ones an OCI layout (blobs/sha256/<digest>). manifest.json is in both.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from xportal.errors import DockerFailed

END = b"\0" * 1024  # two empty blocks end a tar archive
_BLOCK = 512


@dataclass(frozen=True)
class Layer:
    """A layer of the saved image, the lowest first: the digest of its content and its file in the archive."""

    diff_id: str
    path: str


@dataclass(frozen=True)
class Member:
    """A file in the archive: where its blocks begin and end, header included, and what it links to."""

    path: str
    start: int
    stop: int
    link: str | None = None


@dataclass(frozen=True)
class Archive:
    """One saved image. `image_id` is the id it has in a Docker with the classic image store."""

    image_id: str
    layers: tuple[Layer, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Part:
    """The members of an archive to send, as byte ranges; sizes in bytes."""

    ranges: tuple[tuple[int, int], ...]
    sent_layers: int
    skipped_layers: int
    skipped_bytes: int

    @property
    def size(self) -> int:
        """What will be sent, the end of the archive included."""
        return sum(stop - start for start, stop in self.ranges) + len(END)


def read_archive(file: BinaryIO) -> Archive:
    """Read the index of an archive. Raises DockerFailed if it is none, or holds no image."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            infos = [info for info in tar if not info.isdir()]
            by_name = {info.name: info for info in infos}
            manifest = json.loads(_content(tar, by_name["manifest.json"]))[0]
            config = _content(tar, by_name[manifest["Config"]])
            diff_ids = json.loads(config)["rootfs"]["diff_ids"] or []
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise DockerFailed(f"docker save wrote an archive that is not understood: {error!r}") from error
    paths = manifest["Layers"] or []
    if len(paths) != len(diff_ids):
        raise DockerFailed(f"docker save wrote {len(paths)} layers for an image of {len(diff_ids)}")
    return Archive(
        image_id=f"sha256:{hashlib.sha256(config).hexdigest()}",
        layers=tuple(Layer(diff_id, path) for diff_id, path in zip(diff_ids, paths, strict=True)),
        members=tuple(_member(info) for info in infos),
    )


def count_shared(layers: Sequence[Layer], images: Iterable[Sequence[str]]) -> int:
    """How many of the lowest layers some image (its DiffIDs) has too: a layer counts only on the same ground."""
    return max((_common_prefix([layer.diff_id for layer in layers], other) for other in images), default=0)


def plan_part(archive: Archive, shared: int) -> Part:
    """Everything but the files of the `shared` lowest layers that no other layer needs."""
    links = {member.path: member.link for member in archive.members if member.link}
    wanted = {layer.path for layer in archive.layers[shared:]}
    wanted |= {links[path] for path in wanted if path in links}
    spared = {layer.path for layer in archive.layers} - wanted
    return Part(
        ranges=tuple(_joined(m for m in archive.members if m.path not in spared)),
        sent_layers=len(archive.layers) - shared,
        skipped_layers=shared,
        skipped_bytes=sum(m.stop - m.start for m in archive.members if m.path in spared),
    )


def read_part(file: BinaryIO, part: Part, chunk: int = 1 << 18) -> Iterator[bytes]:
    """The bytes of an archive that holds only `part`."""
    for start, stop in part.ranges:
        file.seek(start)
        left = stop - start
        while left:
            data = file.read(min(chunk, left))
            if not data:
                raise DockerFailed("the archive of docker save is shorter than its index")
            left -= len(data)
            yield data
    yield END


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    if file is None:
        raise KeyError(info.name)
    with file:
        return file.read()


def _member(info: tarfile.TarInfo) -> Member:
    size = info.size if info.isreg() else 0
    stop = info.offset_data + -(-size // _BLOCK) * _BLOCK
    link = posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname)) if info.issym() else None
    return Member(info.name, info.offset, stop, info.linkname if info.islnk() else link)


def _joined(members: Iterable[Member]) -> Iterator[tuple[int, int]]:
    """Their ranges, neighbours joined."""
    start = stop = 0
    for member in members:
        if member.start != stop:
            if stop > start:
                yield start, stop
            start = member.start
        stop = member.stop
    if stop > start:
        yield start, stop


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
