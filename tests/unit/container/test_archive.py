"""Archives of `docker save`, made by hand in both layouts: what is in them and what need not be sent."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence

import pytest

from xportal.container.archive import count_shared, plan_part, read_archive, read_part
from xportal.errors import DockerFailed

Files = list[tuple[str, bytes | str]]  # a str is the target of a symbolic link


def tar_of(files: Files) -> bytes:
    """A tar archive with these members, directories between them as docker writes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(layers: Sequence[bytes]) -> bytes:
    diff_ids = [f"sha256:{digest(layer)}" for layer in layers]
    return json.dumps({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def legacy(layers: Sequence[bytes]) -> bytes:
    """As Docker 20.10 writes it: a directory a layer, a link where the content came before."""
    config = config_of(layers)
    files: Files = []
    seen: dict[bytes, str] = {}
    for number, layer in enumerate(layers):
        path = f"{number:064x}/layer.tar"
        files += [(f"{number:064x}/VERSION", b"1.0"), (f"{number:064x}/json", b"{}")]
        files.append((path, f"../{seen[layer]}" if layer in seen else layer))
        seen.setdefault(layer, path)
    paths = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": f"{digest(config)}.json", "RepoTags": ["a:b"], "Layers": paths}]
    files += [(f"{digest(config)}.json", config), ("manifest.json", json.dumps(manifest).encode())]
    return tar_of([*files, ("repositories", b"{}")])


def oci(layers: Sequence[bytes]) -> bytes:
    """As Docker 25 and later write it: content-addressed blobs, each once."""
    config = config_of(layers)
    blobs: Files = [(f"blobs/sha256/{digest(layer)}", layer) for layer in dict.fromkeys(layers)]
    blobs += [(f"blobs/sha256/{digest(config)}", config), ("blobs/sha256/" + "e" * 64, b'{"schemaVersion": 2}')]
    paths = [f"blobs/sha256/{digest(layer)}" for layer in layers]
    manifest = [{"Config": f"blobs/sha256/{digest(config)}", "RepoTags": ["a:b"], "Layers": paths}]
    return tar_of(
        [*blobs, ("index.json", b"{}"), ("manifest.json", json.dumps(manifest).encode()), ("oci-layout", b"{}")]
    )


LAYERS = (b"base" * 5000, b"middle" * 300, b"top")
LAYOUTS = pytest.mark.parametrize("layout", [legacy, oci])
Layout = Callable[[Sequence[bytes]], bytes]


def sent(archive_bytes: bytes, shared: int) -> dict[str, bytes | str]:
    """The members that arrive if the lowest `shared` layers are left out; the archive must be whole."""
    file = io.BytesIO(archive_bytes)
    part = plan_part(read_archive(file), shared)
    stream = b"".join(read_part(file, part, chunk=1000))
    assert len(stream) == part.size
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r:") as tar:
        return {info.name: info.linkname if info.issym() else _read(tar, info) for info in tar}


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file is not None
    return file.read()


@LAYOUTS
def test_archive_tells_image_and_layers(layout: Layout) -> None:
    """The id is the digest of the configuration, the layers are in their order from the lowest."""
    archive = read_archive(io.BytesIO(layout(LAYERS)))
    assert archive.image_id == f"sha256:{digest(config_of(LAYERS))}"
    assert [layer.diff_id for layer in archive.layers] == [f"sha256:{digest(layer)}" for layer in LAYERS]


@LAYOUTS
def test_nothing_shared_sends_every_member(layout: Layout) -> None:
    """Without a common layer the stream has all that docker saved."""
    data = layout(LAYERS)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert set(sent(data, 0)) == set(tar.getnames())


@LAYOUTS
@pytest.mark.parametrize("shared", [1, 2, 3])
def test_shared_layers_are_left_out(layout: Layout, shared: int) -> None:
    """The content of the shared layers is not in the stream, everything else is, and the sums agree."""
    data = layout(LAYERS)
    whole, partial = sent(data, 0), sent(data, shared)
    left_out = {name for name in whole if name not in partial}
    assert sorted(whole[name] for name in left_out) == sorted(LAYERS[:shared])
    assert {name: whole[name] for name in partial} == partial
    part = plan_part(read_archive(io.BytesIO(data)), shared)
    assert (part.sent_layers, part.skipped_layers) == (3 - shared, shared)
    assert part.size + part.skipped_bytes == plan_part(read_archive(io.BytesIO(data)), 0).size


@LAYOUTS
def test_layer_that_occurs_again_above_is_sent(layout: Layout) -> None:
    """The same content on other ground is another layer to Docker: its file must be there."""
    twice = (b"empty", b"middle", b"empty")
    partial = sent(layout(twice), 2)
    assert b"empty" in partial.values()
    assert b"middle" not in partial.values()


def test_shared_layers_are_counted_from_the_ground() -> None:
    """Only a common beginning counts, and the best image of the machine decides."""
    layers = read_archive(io.BytesIO(oci(LAYERS))).layers
    ids = [layer.diff_id for layer in layers]
    assert count_shared(layers, []) == 0
    assert count_shared(layers, [[]]) == 0
    assert count_shared(layers, [ids[1:], ["x", *ids]]) == 0
    assert count_shared(layers, [ids[:1], [*ids[:2], "x", "y"], ["x"]]) == 2
    assert count_shared(layers, [[*ids, "more"]]) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense" * 200,
        tar_of([("other", b"")]),
        tar_of([("manifest.json", b"[]")]),
        tar_of([("manifest.json", b"{")]),
        tar_of([("manifest.json", json.dumps([{"Config": "c", "Layers": []}]).encode())]),
        tar_of([("c", b"{}"), ("manifest.json", json.dumps([{"Config": "c", "Layers": []}]).encode())]),
        tar_of(
            [
                ("c", json.dumps({"rootfs": {"diff_ids": ["sha256:1"]}}).encode()),
                ("manifest.json", json.dumps([{"Config": "c", "Layers": []}]).encode()),
            ]
        ),
    ],
)
def test_other_archives_are_refused(data: bytes) -> None:
    """What is no saved image is an error of ours, before anything is sent."""
    with pytest.raises(DockerFailed, match="docker save"):
        read_archive(io.BytesIO(data))


def test_truncated_archive_is_an_error() -> None:
    """A spool file that lost its end does not become a short image."""
    file = io.BytesIO(oci(LAYERS))
    part = plan_part(read_archive(file), 0)
    file.truncate(2000)
    with pytest.raises(DockerFailed, match="shorter"):
        list(read_part(file, part))
