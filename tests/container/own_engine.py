"""A Docker Engine of a test's own, which can be stopped and started: its files are edited in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.container.images import root_filesystem
from xportal.agent.core.process import Done, run
from xportal.agent.full.docker import Docker
from xportal.agent.full.docker_api import Engine

SECONDS = 60


class OwnEngine:
    """One daemon with a data-root, networks and an image `odd` of its own. It offers GPUs, which give nothing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data_root = home / "data"
        self.socket = home / "docker.sock"
        self.docker = Docker(self._run)
        self.engine = Engine(at=str(self.socket))
        self._process: subprocess.Popen[bytes] | None = None
        hook = home / "bin/nvidia-container-runtime-hook"
        hook.parent.mkdir()
        hook.write_text("#!/bin/sh\n")
        hook.chmod(0o755)

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        namespace = f"xportal-test-{uuid.uuid4().hex}"
        argv = [
            # in a network namespace of its own: its bridges, and no rules of a firewall
            *("unshare", "--net", "dockerd", "--host", f"unix://{self.socket}", "--data-root", str(self.data_root)),
            *("--exec-root", f"{self.home}/exec", "--pidfile", f"{self.home}/pid", "--iptables=false"),
            *("--ip6tables=false", "--containerd-namespace", namespace),
            *("--containerd-plugins-namespace", f"{namespace}-plugins"),
        ]
        env = {**os.environ, "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        deadline = time.monotonic() + SECONDS
        while self._run(["docker", "version"], check=False).status:
            assert self._process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the daemon, and with it every container."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(SECONDS)
            self._process = None

    def make_image(self) -> None:
        """The image `odd`, with some programs."""
        argv = ["docker", "--host", f"unix://{self.socket}", "import", "--change", "CMD sh", "-", "odd"]
        subprocess.run(argv, input=root_filesystem(), check=True, capture_output=True)

    def __call__(self, *argv: str) -> str:
        """What a docker command prints."""
        return self._run(["docker", *argv]).out.strip()

    def build(self, tag: str, dockerfile: str) -> None:
        """An image of a Dockerfile that needs no context."""
        argv = ["docker", "--host", f"unix://{self.socket}", "build", "-q", "-t", tag, "-"]
        subprocess.run(argv, input=dockerfile.encode(), check=True, capture_output=True)

    def inspect(self, name: str) -> dict[str, Any]:
        """All that Docker knows of a container."""
        (found,) = json.loads(self("container", "inspect", name))
        return dict(found)

    def inspect_image(self, name: str) -> dict[str, Any]:
        """All that Docker knows of an image."""
        (found,) = json.loads(self("image", "inspect", name))
        return dict(found)

    def _run(self, argv: Sequence[str], *, check: bool = True, timeout: float | None = None) -> Done:
        return run(["docker", "--host", f"unix://{self.socket}", *argv[1:]], check=check, timeout=timeout)


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """One that runs; all that it made goes with it."""
    # not below pytest's base directory: a daemon's socket path has at most 107 characters
    own = OwnEngine(Path(tempfile.mkdtemp(prefix="xportal-engine-")))
    try:
        own.start()
        own.make_image()
        yield own
    finally:
        own.stop()
        shutil.rmtree(own.home)
