"""Small images made of this computer's own programs: no registry, no package mirror."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

PROGRAMS = ("sh", "cat", "echo", "sleep", "id", "ls", "env", "stat", "seq", "mkdir", "df")


def root_filesystem() -> bytes:
    """A tar archive with some programs and the libraries they need."""
    found = {Path(program) for name in PROGRAMS if (program := shutil.which(name))}
    for binary in list(found):
        listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for path in sorted(found):
            name = f"bin/{path.name}" if path.name in PROGRAMS else str(path).lstrip("/")
            tar.add(path, arcname=name)
        passwd = b"root:x:0:0::/root:/bin/sh\nalice:x:1234:1234::/:/bin/sh\n"
        info = tarfile.TarInfo("etc/passwd")
        info.size = len(passwd)
        tar.addfile(info, io.BytesIO(passwd))
    return buffer.getvalue()


@contextmanager
def shell_image(client: docker.DockerClient, name: str) -> Iterator[str]:
    """An image with a shell in `client`'s Docker; removed afterwards, with what was built on it under `name`-…"""
    client.api.import_image_from_data(root_filesystem(), repository=name, tag="latest", changes=["CMD sh"])
    try:
        yield f"{name}:latest"
    finally:
        for image in client.images.list():
            for tag in image.tags:
                if tag.startswith(name):
                    client.images.remove(tag, force=True)


def layered(client: docker.DockerClient, base: str, tag: str, *contents: bytes) -> str:
    """An image of `base` and a layer for each of `contents`; its id."""
    lines = [f"FROM {base}", *(f"COPY {number} /{number}" for number in range(len(contents)))]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in [("Dockerfile", "\n".join(lines).encode()), *((str(n), c) for n, c in enumerate(contents))]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    context.seek(0)
    image, _ = client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    assert image.id is not None
    return image.id
