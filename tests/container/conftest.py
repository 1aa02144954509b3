"""What the container tests run against: a real sshd on loopback."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.container import dockerd, images, sshd
from xportal.container import Engine, local_docker
from xportal.remote import FabricHost, Login, connect


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """How to log in to a running sshd."""
    if shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        pytest.skip("no sshd on this computer: apt-get install openssh-server")
    home = tmp_path_factory.mktemp("sshd")
    login = sshd.make_home(home)
    with sshd.running(home):
        sshd.wait_listening(login)
        yield login


@pytest.fixture
def host(login: Login) -> Iterator[FabricHost]:
    """A connection of its own; afterwards no thread of ours may be left."""
    before = set(threading.enumerate())
    host = connect(login, deadline=time.monotonic() + 10)
    yield host
    host.close()
    _assert_no_threads(before)


def _assert_no_threads(before: set[threading.Thread]) -> None:
    deadline = time.monotonic() + 5
    while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
        assert time.monotonic() < deadline, f"threads left: {left}"
        time.sleep(0.02)


@pytest.fixture
def bin_dir(login: Login) -> Iterator[Path]:
    """A directory first in the PATH of what runs over ssh; emptied afterwards."""
    directory = login.key_file.parent / "bin"
    yield directory
    for path in directory.iterdir():
        path.unlink()


@pytest.fixture(scope="session")
def second_docker() -> Iterator[str]:
    """The URL of a Docker daemon other than this computer's."""
    # not below pytest's base directory: a daemon's socket path has at most 107 characters
    with dockerd.running(Path(tempfile.mkdtemp(prefix="xportal-dockerd-"))) as url:
        yield url


@pytest.fixture
def second_engine(host: FabricHost, bin_dir: Path, second_docker: str) -> Iterator[Engine]:
    """The second daemon as a portal's machine has it: over ssh."""
    program = shutil.which("docker")
    (bin_dir / "docker").write_text(f'#!/bin/sh\nexec {program} --host {second_docker} "$@"\n')
    (bin_dir / "docker").chmod(0o755)
    with host.docker() as client:
        yield Engine(client, "demo")


@pytest.fixture
def engine(host: FabricHost, mark: str, local: docker.DockerClient, tmp_path: Path) -> Iterator[Engine]:
    """This computer's daemon as a portal's machine has it: over ssh, with networks. Its containers go with it."""
    with host.docker() as client:
        yield Engine(client, "demo", durable=(f"{tmp_path}/v1",))
    for container in local.containers.list(all=True, filters={"label": mark}):
        container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def mark() -> str:
    """The label of everything this session makes in this computer's Docker, also a prefix for names."""
    return f"xportal-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def local() -> Iterator[docker.DockerClient]:
    """The Docker of this computer."""
    with local_docker() as client:
        yield client


@pytest.fixture(scope="session")
def shell_image(local: docker.DockerClient, mark: str) -> Iterator[str]:
    """An image with a shell and a few programs, in this computer's Docker."""
    with images.shell_image(local, mark) as name:
        yield name
