"""A second Docker daemon with a data-root of its own: the machine's, so that a push has somewhere to go."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The URL of a daemon without networks that lives as long as the `with`; all it wrote is deleted."""
    url = f"unix://{home}/docker.sock"
    namespace = f"xportal-test-{uuid.uuid4().hex}"  # the directory's name may end in "_", which containerd refuses
    argv = [
        # in a network namespace of its own: --bridge none deletes the docker0 it finds
        *("unshare", "--net", "dockerd", "--host", url, "--data-root", f"{home}/data", "--exec-root", f"{home}/exec"),
        *("--pidfile", f"{home}/pid", "--bridge", "none", "--iptables=false", "--ip6tables=false"),
        *("--containerd-namespace", namespace, "--containerd-plugins-namespace", f"{namespace}-plugins"),
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log, stdout=log)
    try:
        _wait_answers(url, process, home / "log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(home)


def _wait_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(url.removeprefix("unix://"))
            docker.DockerClient(base_url=url).close()
            return
        except (OSError, DockerException):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
