"""A user with a home of their own, who types commands; and a sandbox for them."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stories import prefork
from tests.user import make_client
from xportal.cli.options import SANDBOX_PROFILE
from xportal.sandbox import image
from xportal.sandbox.hardware.docker import Engine
from xportal.sandbox.secret import Secret

_started: list[subprocess.Popen[str]] = []  # by `User.starts` in this test


@dataclass(frozen=True)
class User:
    """Someone at a computer: `home` holds all their files, AWS's and xportal's. `program`: None is this xportal."""

    home: Path
    profile: str | None = None
    program: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the person who runs the tests but what programs need to run."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "XPORTAL_SANDBOX", "XDG_"))}
        own = {"HOME": str(self.home), "XPORTAL_SANDBOX_HOME": str(self.home / "sandbox"), "NO_COLOR": "1"}
        return kept | own | ({"AWS_PROFILE": self.profile} if self.profile else {})

    def types(
        self, *words: str, check: bool = True, stdin: bytes | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run `xportal WORDS`; with `check`, anything but exit 0 fails the test with what was printed."""
        if self.program is None:
            done = prefork.prefork().run(words, self.environment, self.home, stdin, timeout)
        else:
            streams: dict[str, Any] = {"capture_output": True, "input": stdin, "timeout": timeout}
            argv = [self.program, *words]
            done = subprocess.run(argv, env=self.environment, cwd=self.home, check=False, **streams)
        out, err = done.stdout.decode(), done.stderr.decode()
        if check and done.returncode != 0:
            pytest.fail(f"xportal {' '.join(words)} ended with {done.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def asks(self, *words: str) -> Any:
        """The JSON answer of a command."""
        return json.loads(self.types("--json", *words).stdout)

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """A command that is left running, until the test ends at most; its stdout and stderr are pipes."""
        process = subprocess.Popen(
            [*([self.program] if self.program else [sys.executable, "-m", "xportal"]), *words],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _started.append(process)
        return process

    @property
    def keys(self) -> dict[str, str]:
        """The sandbox's access key, as the profile has it."""
        credentials = configparser.ConfigParser()
        credentials.read(self.home / ".aws" / "credentials")
        return dict(credentials[SANDBOX_PROFILE])

    @property
    def secret(self) -> Secret:
        """The same, for the admin routes."""
        return Secret(self.keys["aws_access_key_id"], self.keys["aws_secret_access_key"])

    def client(self, service: str = "ec2") -> Any:
        """A boto3 client of the sandbox, through the profile that it wrote."""
        told = self.asks("sandbox", "status")
        return make_client(service, endpoint_url=told["endpoint_url"], region_name=told["region"], **self.keys)

    def write_keys(self, path: Path, profile: str) -> None:
        """Add the sandbox's access key to a credentials file, as another profile's."""
        with path.open("a") as file:
            file.write("\n".join(["", f"[{profile}]", *(f"{name} = {key}" for name, key in self.keys.items()), ""]))


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """A test that fails leaves no command behind, which would go on at work in the next one."""
    yield
    while _started:
        with _started.pop() as process:
            process.kill()


@pytest.fixture
def stranger(tmp_path: Path) -> User:
    """Somebody without credentials, settings, or a sandbox."""
    return User(tmp_path)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Somebody with a running sandbox, whose profile is their default."""
    somebody = User(tmp_path_factory.mktemp("user"), profile="xportal-sandbox")
    somebody.types("sandbox", "start", "--port", str(free_port()), timeout=600)
    try:
        yield somebody
    finally:
        somebody.types("sandbox", "reset")


@pytest.fixture(scope="module")
def desk(user: User, tmp_path_factory: pytest.TempPathFactory) -> User:
    """The same person at another computer: AWS's credentials are there, and nothing of xportal's."""
    home = tmp_path_factory.mktemp("desk")
    shutil.copytree(user.home / ".aws", home / ".aws")
    return User(home, user.profile)


PYTHON_IMAGE = "xportal-test-python"
DOCKERFILE = """FROM {base}
RUN apt-get update -q && apt-get install -yq --no-install-recommends python3 python3-pip && rm -rf /var/lib/apt/lists/*
VOLUME /anonymous
"""


@pytest.fixture(scope="session")
def python_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python and an anonymous volume, on this computer's Docker; kept there as a cache."""
    context = tmp_path_factory.mktemp("image")
    base = image.ensure_base(Engine.connect().client, print)
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    subprocess.run(["docker", "build", "--quiet", "--network", "host", "--tag", PYTHON_IMAGE, str(context)], check=True)
    return PYTHON_IMAGE
