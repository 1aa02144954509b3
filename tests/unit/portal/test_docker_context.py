"""The docker command's context for a portal. The docker command is a script in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xportal.errors import DockerFailed
from xportal.portal.alias import Alias, Place
from xportal.portal.docker_context import has_docker, keep_context, remove_context

ALIAS = Alias("xportal-demo", Place("demo", "mine", "us-east-1"))
CREATE = "context create xportal-demo --description xportal: portal demo, us-east-1 --docker host=ssh://xportal-demo"
SCRIPT = """#!/bin/sh
echo "$*" >> "$0.log"
case $2 in
    inspect) cat "$0.contexts" 2> /dev/null ;;
    *) test ! -e "$0.refuses" || { echo "docker says no" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script, which has no context until a test writes one."""
    path = tmp_path / "docker"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return path


def asked(docker: Path) -> list[str]:
    """What docker was asked but for its contexts."""
    return [line for line in (docker.parent / "docker.log").read_text().splitlines() if "inspect" not in line]


def has(docker: Path, host: str) -> None:
    """Docker has a context of the alias's name."""
    told = json.dumps([{"Name": "xportal-demo", "Endpoints": {"docker": {"Host": host}}}])
    docker.with_name("docker.contexts").write_text(told)


def test_a_context_is_made_once(docker: Path) -> None:
    """It leads to the alias."""
    assert has_docker()
    keep_context(ALIAS)
    assert asked(docker) == [CREATE]
    has(docker, "ssh://xportal-demo")
    keep_context(ALIAS)
    assert asked(docker) == [CREATE]
    remove_context(ALIAS)
    assert asked(docker) == [CREATE, "context rm xportal-demo"]


def test_somebody_s_own_context_is_left_alone(docker: Path) -> None:
    """It has the name, and leads elsewhere."""
    has(docker, "tcp://10.0.0.1:2375")
    with pytest.raises(DockerFailed, match=r"which leads to tcp://10\.0\.0\.1:2375"):
        keep_context(ALIAS)
    remove_context(ALIAS)
    assert asked(docker) == []


def test_what_docker_refuses_is_said(docker: Path) -> None:
    """In its own words; and answers that make no sense are no context."""
    docker.with_name("docker.refuses").touch()
    with pytest.raises(DockerFailed, match="docker context create: docker says no"):
        keep_context(ALIAS)
    docker.with_name("docker.contexts").write_text("[]")
    with pytest.raises(DockerFailed, match="makes no sense"):
        keep_context(ALIAS)
