"""Builds by buildx, with a program `docker` in PATH that stands in for it: what it is asked, and what becomes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xportal.container import build, buildx
from xportal.container.engine import Engine
from xportal.errors import DockerFailed, UsageError

IMAGE = f"sha256:{'a' * 64}"
# It writes down how it was called, and does what the directory's Dockerfile says.
DOCKER = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
if words == ["buildx", "version"]:
    sys.exit(int(os.environ.get("NO_BUILDX", "0")))
with open(os.environ["CALLED"], "w") as file:
    json.dump([words, dict(os.environ)], file)
exec(open(words[-1] + "/Dockerfile").read())
"""
WORKS = f"""
print("#1 [internal] load build definition", file=sys.stderr)
with open(words[words.index("--iidfile") + 1], "w") as file:
    file.write("{IMAGE}")
"""


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in writes down how it was called."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    return tmp_path / "called"


class Api:
    """A FAKE of the docker package's client behind a socket; it builds nothing."""

    base_url = "http+docker://localhost"

    def get_adapter(self, url: str) -> Any:
        """Its socket."""
        return SimpleNamespace(socket_path="/run/forward.sock")

    def build(self, **asked: Any) -> Any:
        """The plain way."""
        raise AssertionError("it builds without buildx")


def machine() -> Engine:
    """The Docker of a portal's machine."""
    images = SimpleNamespace(get=lambda id_: SimpleNamespace(id=id_))
    client: Any = SimpleNamespace(api=Api(), images=images)
    return Engine(client, "demo")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory to build from."""
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(WORKS)
    return directory


def test_it_builds_on_the_machine_as_it_was_asked(called: Path, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the forwarded socket, with its Docker's own builder, whatever this computer's docker is set to."""
    for name in buildx.ELSEWHERE:
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("TOKEN", "secret")
    log: list[str] = []
    options: dict[str, Any] = {"tag": "built:v1", "build_args": ("A=b c", "TOKEN"), "no_cache": True, "network": "host"}
    built = build(machine(), context, log.append, **options)
    assert (built.image_id, built.tag) == (IMAGE, "built:v1")
    assert log == ["#1 [internal] load build definition"]
    words, environ = json.loads(called.read_text())
    iidfile = words[words.index("--iidfile") + 1]
    assert words == [
        *("buildx", "build", "--builder", "default", "--load", "--progress", "plain", "--iidfile", iidfile),
        *("--tag", "built:v1", "--network", "host", "--file", str(context / "Dockerfile"), "--no-cache"),
        *("--build-arg", "A=b c", "--build-arg", "TOKEN", "--", str(context)),
    ]
    assert environ["DOCKER_HOST"] == "unix:///run/forward.sock"
    assert environ["TOKEN"] == "secret"  # on no command line, where others would see it
    assert not buildx.ELSEWHERE & environ.keys()
    assert not Path(iidfile).parent.exists()


def test_the_proxy_of_this_computer_is_none_for_the_machine(called: Path, context: Path, tmp_path: Path) -> None:
    """What docker's configuration says is taken back, but not what the user gives."""
    (tmp_path / "config").mkdir()
    proxies = {"proxies": {"default": {"httpProxy": "http://127.0.0.1:3128", "noProxy": "x"}}}
    (tmp_path / "config" / "config.json").write_text(json.dumps(proxies))
    build(machine(), context, print, build_args=("NO_PROXY=mine",))
    words, _ = json.loads(called.read_text())
    assert {"HTTP_PROXY=", "http_proxy=", "no_proxy=", "NO_PROXY=mine"} <= set(words)
    assert "NO_PROXY=" not in words


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('ERROR: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1', ""),
        (
            "ERROR: failed to solve: no/base:1: failed to resolve source metadata for docker.io/no/base:1: no",
            "no/base:1",
        ),
        ("ERROR: failed to solve: no/base: pull access denied, repository does not exist", "no/base"),
        ("ERROR: failed to solve: 127.0.0.1:1/b: failed to do request: Head", "127.0.0.1:1/b"),
        ("it has no Dockerfile", ""),
    ],
)
def test_a_build_that_fails_says_why(called: Path, context: Path, said: str, hint: str) -> None:
    """In its own words, which need not be the last; a base image that nobody has is to be pushed."""
    (context / "Dockerfile").write_text(f"print({said!r}, file=sys.stderr); print('View details'); sys.exit(1)")
    if not said.startswith("ERROR"):
        (context / "Dockerfile").write_text(f"print({said!r}, file=sys.stderr); sys.exit(1)")
    with pytest.raises(DockerFailed) as failed:
        build(machine(), context, lambda line: None)
    assert failed.value.message.endswith(said.removeprefix("ERROR: "))
    assert failed.value.hint.endswith(f"xportal push demo {hint}" if hint else "")
    assert bool(failed.value.hint) == bool(hint)


def test_a_build_without_an_image_is_none(called: Path, context: Path) -> None:
    """As of a docker that writes no id."""
    (context / "Dockerfile").write_text("")
    with pytest.raises(DockerFailed, match="without an image"):
        build(machine(), context, print)


@pytest.mark.parametrize(("name", "value"), [("NO_BUILDX", "1"), ("DOCKER_BUILDKIT", "0"), ("PATH", "/nowhere")])
def test_without_buildx_it_builds_plainly(
    called: Path, context: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Where there is none, where docker is not installed, and where the user wants none, as with docker itself."""
    monkeypatch.setenv(name, value)
    with pytest.raises(AssertionError, match="without buildx"):
        build(machine(), context, print)
    assert not called.exists()


def test_a_build_argument_needs_a_name(called: Path, context: Path) -> None:
    """Told before anything is built."""
    with pytest.raises(UsageError, match="--build-arg =x has no name"):
        build(machine(), context, print, build_args=("=x",))
