"""Mistakes: each is answered in the promised form, with the right exit status, and nothing is created."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.stories.conftest import User, free_port
from xportal.sandbox import admin

pytestmark = pytest.mark.machine

NO_SUCH_PROFILE = ("--profile", "nobody", "status")
MISTAKES = [
    (("up", "a b"), 2),
    (("up", 'a"b'), 2),
    (("up", "$(reboot)"), 2),
    (("up", "a\nb"), 2),
    (("down", "../x"), 2),
    (("up", "demo", "--size", "0"), 2),
    (("up", "demo", "--size", "99999999"), 2),
    (("up", "demo", "--size", "big"), 2),
    (("up", "demo", "--type", "g5.huge"), 2),
    (("up", "demo", "--type", "t3.medium", "--gpu"), 2),
    (("up", "demo", "--gpu", "--cpu"), 2),
    (("up", "demo", "--max-price", "0.00001"), 2),
    (("up", "demo", "--image-id", "ami-00000000"), 2),
    (("up", "demo", "--nonsense"), 2),
    (("frobnicate",), 2),
    (("run",), 2),
    (("--region", "mars-1", "status"), 2),
    (("status", "--region", "mars-1"), 2),
    (NO_SUCH_PROFILE, 2),
    (("ps", "nowhere"), 3),
    (("ssh", "nowhere"), 3),
    (("logs", "nowhere", "c"), 3),
    (("push", "nowhere", "image"), 3),
    (("status", "--region", "eu-west-1", "--profile", "xportal-sandbox", "a b"), 2),
]


@pytest.fixture(scope="module")
def endpoint(user: User) -> str:
    """Where the sandbox answers."""
    url: str = user.asks("sandbox", "status")["endpoint_url"]
    return url


@pytest.mark.parametrize(("words", "status"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_mistake(user: User, endpoint: str, words: tuple[str, ...], status: int) -> None:
    """The promised form and exit status, no traceback; AWS was asked to change nothing."""
    admin.call(endpoint, user.secret, "DELETE", "calls")
    done = user.types(*words, check=False)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("… ")]
    assert lines[0].startswith("error: "), done.stderr
    assert len(lines) <= 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    asked = [call["operation"] for call in admin.call(endpoint, user.secret, "GET", "calls")["calls"]]
    assert [name for name in asked if not name.startswith(("Describe", "Get"))] == []


def test_no_credentials(stranger: User) -> None:
    """Without credentials the error points at the sandbox."""
    done = stranger.types("up", "--region", "us-east-1", check=False)
    assert done.returncode == 4
    assert re.search(r"hint: .*sandbox", done.stderr), done.stderr


def test_sandbox_not_started(stranger: User) -> None:
    """`--sandbox` before `sandbox start` says what to type."""
    done = stranger.types("--sandbox", "up", check=False)
    assert done.returncode == 2
    assert "xportal sandbox start" in done.stderr


def test_endpoint_down(stranger: User) -> None:
    """An endpoint that does not answer is named."""
    (stranger.home / ".aws").mkdir()
    settings = f"[default]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:{free_port()}\n"
    (stranger.home / ".aws" / "config").write_text(settings)
    (stranger.home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
    done = stranger.types("up", check=False)
    assert done.returncode == 4
    assert "does not answer" in done.stderr
    assert "hint:" in done.stderr


def test_docker_not_running(stranger: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox without Docker says what is missing."""
    monkeypatch.setitem(os.environ, "DOCKER_HOST", f"unix://{stranger.home}/no-docker.sock")
    done = stranger.types("sandbox", "start", "--port", str(free_port()), check=False)
    assert done.returncode == 2
    assert "Docker" in done.stderr
    assert not Path(stranger.home, ".aws").exists()
