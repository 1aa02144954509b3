"""Mistakes: each is answered in the promised form, with the right exit status, and nothing is created."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.conftest import User, free_port

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


@pytest.mark.parametrize(("words", "status"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_mistake(user: User, words: tuple[str, ...], status: int) -> None:
    """One line of error, one of hint at most, no traceback, the promised exit status."""
    done = user.types(*words, check=False)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("… ")]
    assert lines[0].startswith("error: "), done.stderr
    assert len(lines) <= 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_mistakes_create_nothing(user: User) -> None:
    """After all of them AWS has no machine, volume, key pair or security group of ours."""
    for words, _ in MISTAKES:
        user.types(*words, check=False)
    ec2 = user.client()
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert [g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]


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
