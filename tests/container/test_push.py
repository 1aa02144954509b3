"""Images from this computer's Docker to another daemon, over ssh: what is sent, and that it is whole."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator

import docker
import pytest

from tests.container import images
from xportal.container import Engine, Progress, local_docker, push
from xportal.errors import NotInstalled, UsageError

pytestmark = pytest.mark.machine

SMALL, LARGE = os.urandom(100_000), os.urandom(3_000_000)


def unseen(_progress: Progress) -> None:
    """Nobody looks."""


@pytest.fixture
def base(second_engine: Engine, local: docker.DockerClient, shell_image: str, mark: str) -> Iterator[str]:
    """An image that both daemons have."""
    tag = images_tag(mark, "base")
    images.layered(local, shell_image, tag, LARGE)
    push(second_engine, local, tag, unseen)
    yield tag
    remove_images(second_engine.client)


def images_tag(mark: str, name: str) -> str:
    return f"{mark}-{name}:v1"


def remove_images(client: docker.DockerClient) -> None:
    for image in client.images.list():
        assert image.id
        client.images.remove(image.id, force=True)


def file_in(client: docker.DockerClient, image: str, path: str) -> bytes:
    """A file of an image, read through a container that is never started."""
    container = client.containers.create(image, network_mode="none")
    try:
        chunks, _ = container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            member = tar.extractfile(tar.next() or pytest.fail("empty"))
            assert member is not None
            return member.read()
    finally:
        container.remove()


def test_push_is_whole_and_tagged(second_engine: Engine, local: docker.DockerClient, base: str) -> None:
    """The image arrives under its name and id, its layers with their content."""
    theirs = second_engine.client.images.get(base)
    assert theirs.id == local.images.get(base).id
    assert file_in(second_engine.client, base, "/0") == LARGE


def test_only_missing_layers_are_sent(second_engine: Engine, local: docker.DockerClient, base: str, mark: str) -> None:
    """A small layer on a large image costs little more than itself; progress ends at the total."""
    tag = images_tag(mark, "derived")
    image_id = images.layered(local, base, tag, SMALL)
    seen: list[Progress] = []
    pushed = push(second_engine, local, tag, seen.append)
    assert (pushed.sent_layers, pushed.skipped_layers) == (1, 2)
    assert len(SMALL) < pushed.sent_bytes < len(SMALL) + 100_000
    assert pushed.skipped_bytes > len(LARGE)
    assert second_engine.client.images.get(tag).id == image_id
    assert file_in(second_engine.client, tag, "/0") == SMALL
    sending = [p for p in seen if p.step == "sending"]
    assert sending[-1].done == sending[-1].total == pushed.sent_bytes


def test_image_that_is_there_is_only_tagged(
    second_engine: Engine, local: docker.DockerClient, base: str, mark: str
) -> None:
    """The second push sends nothing; under another name it adds the name."""
    other = images_tag(mark, "other")
    local.images.get(base).tag(other)
    for name in (base, other):
        pushed = push(second_engine, local, name, unseen)
        assert (pushed.sent_layers, pushed.sent_bytes) == (0, 0)
    assert second_engine.client.images.get(other).id == local.images.get(base).id


def test_image_is_pushed_by_its_id(second_engine: Engine, local: docker.DockerClient, base: str, mark: str) -> None:
    """An id is not made a name on the other side."""
    tag = images_tag(mark, "by-id")
    image_id = images.layered(local, base, tag, b"by id")
    push(second_engine, local, image_id.removeprefix("sha256:")[:12], unseen)
    assert second_engine.client.images.get(image_id).tags == []


def test_partial_load_that_fails_becomes_a_whole_one(
    second_engine: Engine, local: docker.DockerClient, base: str, mark: str
) -> None:
    """If the machine loses its image between the look and the load, everything is sent after all."""
    tag = images_tag(mark, "fallback")
    image_id = images.layered(local, base, tag, b"fallback")

    def lose(progress: Progress) -> None:
        if progress.step == "sending" and not lost:
            lost.append(True)
            remove_images(second_engine.client)

    lost: list[bool] = []
    pushed = push(second_engine, local, tag, lose)
    assert lost
    assert (pushed.sent_layers, pushed.skipped_layers) == (3, 0)
    assert second_engine.client.images.get(tag).id == image_id
    assert file_in(second_engine.client, tag, "/0") == b"fallback"


def test_oci_layout_is_loaded(second_engine: Engine, local: docker.DockerClient, base: str, mark: str) -> None:
    """An archive in the layout of newer Dockers, less its shared layers, is one that Docker loads."""
    tag = images_tag(mark, "oci")
    image_id = images.layered(local, base, tag, b"oci")
    newer = Newer(local)
    pushed = push(second_engine, newer, tag, unseen)  # type: ignore[arg-type]
    assert newer.saved
    assert (pushed.sent_layers, pushed.skipped_layers) == (1, 2)
    assert second_engine.client.images.get(tag).id == image_id


class Newer:
    """A client whose daemon saves images as Docker 25 does: blobs by digest."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.images = client.images
        self.api = self
        self.saved = False
        self._client = client

    def get_image(self, image: str, chunk_size: int) -> Iterator[bytes]:
        """GET /images/{name}/get."""
        self.saved = True
        old = io.BytesIO(b"".join(self._client.api.get_image(image, chunk_size=chunk_size)))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=old) as tar, tarfile.open(fileobj=buffer, mode="w") as new:
            manifest = json.loads(_read(tar, "manifest.json"))
            config = _read(tar, manifest[0]["Config"])
            diff_ids = json.loads(config)["rootfs"]["diff_ids"]
            blobs = {f"blobs/sha256/{manifest[0]['Config'].split('.')[0].split('/')[-1]}": config}
            manifest[0]["Config"] = next(iter(blobs))
            for number, diff_id in enumerate(diff_ids):
                path = f"blobs/{diff_id.replace(':', '/')}"
                blobs[path] = _read(tar, manifest[0]["Layers"][number])
                manifest[0]["Layers"][number] = path
            blobs["manifest.json"] = json.dumps(manifest).encode()
            for name, data in blobs.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
        yield buffer.getvalue()


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_unknown_image_is_a_usage_error(second_engine: Engine, local: docker.DockerClient) -> None:
    """An image this computer does not have: nothing is sent, the hint says where to look."""
    with pytest.raises(UsageError, match="has no image xportal-no-such") as refused:
        push(second_engine, local, "xportal-no-such", unseen)
    assert "docker images" in refused.value.hint


def test_image_for_other_machines_is_refused(
    second_engine: Engine, local: docker.DockerClient, mark: str, shell_image: str
) -> None:
    """An image for another architecture would arrive and not run: it is refused before the transfer."""
    tag = images_tag(mark, "foreign")
    foreign = Foreign(local, "s390x")
    with pytest.raises(UsageError, match="is for s390x") as refused:
        push(second_engine, foreign, shell_image, unseen)  # type: ignore[arg-type]
    assert "--platform linux/" in refused.value.hint
    assert tag not in [t for image in second_engine.client.images.list() for t in image.tags]


class Foreign:
    """A client whose images are for another architecture."""

    def __init__(self, client: docker.DockerClient, architecture: str) -> None:
        self.images = self
        self._client = client
        self._architecture = architecture

    def get(self, name: str) -> object:
        """GET /images/{name}/json."""
        image = self._client.images.get(name)
        image.attrs["Architecture"] = self._architecture
        return image


def test_no_docker_here_is_not_installed() -> None:
    """Without a Docker on this computer the hint is to build on the machine."""
    nowhere = local_docker({"DOCKER_HOST": "tcp://127.0.0.1:1"})
    with pytest.raises(NotInstalled, match="does not answer on this computer") as refused, nowhere:
        pass
    assert "xportal build" in refused.value.hint
