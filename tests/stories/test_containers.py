"""The container commands, as typed: build, run, ps, logs, exec, stop, rm; and what a life does to containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stories.conftest import User

pytestmark = pytest.mark.machine

DOCKERFILE = "FROM {image}\nENV GREETING=hello\nRUN echo built > /built\n"


@pytest.fixture(scope="module")
def portal(user: User, python_image: str) -> Iterator[str]:
    """A portal with an image on its machine."""
    user.types("up", "work", "--cpu", "--size", "5")
    user.types("push", "work", python_image)
    yield "work"
    user.types("down", "work")


def test_push_again_sends_nothing(user: User, portal: str, python_image: str) -> None:
    """What the machine has is not sent again."""
    assert user.asks("push", portal, python_image)["sent_bytes"] == 0


def test_build_run_exec_logs_stop_rm(user: User, portal: str, python_image: str) -> None:
    """A directory here becomes an image there; its container runs with what it was given and answers as in Docker."""
    context = user.home / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(image=python_image))
    user.types("build", portal, str(context), "-t", "built")
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    user.types("run", portal, "--name", "web", "-p", "8000:8000", "-e", "WORD=x", "built", "--", "python3", "-c", serve)
    [web] = user.asks("ps", portal)
    assert (web["name"], web["image"], web["running"]) == ("web", "built", True)
    shown = user.types("exec", portal, "web", "--", "sh", "-c", "echo $GREETING $WORD; cat /built; exit 7", check=False)
    assert (shown.returncode, shown.stdout) == (7, "hello x\nbuilt\n")
    fetched = user.types("ssh", portal, "--", "curl --retry 5 --retry-connrefused -s http://127.0.0.1:8000/built")
    assert fetched.stdout == "built\n"
    listening = user.types("ssh", portal, "--", "sudo ss -ltnH").stdout
    assert "127.0.0.1:8000" in listening
    assert "0.0.0.0:8000" not in listening
    assert "GET /built" in user.types("logs", portal, "web").stderr
    again = user.types("run", portal, "--name", "web", "built", "--", "true", check=False)
    assert (again.returncode, "hint:" in again.stderr) == (3, True)
    user.types("stop", portal, "web", "-t", "1")
    assert user.asks("ps", portal) == []
    user.types("rm", portal, "web")
    assert user.asks("ps", portal, "-a") == []


def test_what_ran_runs_what_was_stopped_stays_stopped(user: User, portal: str, python_image: str) -> None:
    """After down and up: restart policies are kept, and do not start what the user had stopped."""
    sleep = ("--", "sleep", "1000000")
    user.types("run", portal, "--name", "plain", python_image, *sleep)
    user.types("run", portal, "--name", "always", "--restart", "always", "-v", "data:/data", python_image, *sleep)
    user.types("run", portal, "--name", "stopped", "--restart", "unless-stopped", python_image, *sleep)
    user.types("exec", portal, "always", "--", "sh", "-c", "echo kept > /data/file")
    user.types("stop", portal, "stopped", "-t", "1")
    user.types("down", portal)
    user.types("up", portal, "--gpu")
    running = {c["name"]: c["running"] for c in user.asks("ps", portal, "-a")}
    assert running == {"plain": True, "always": True, "stopped": False}
    assert user.types("exec", portal, "always", "--", "cat", "/data/file").stdout == "kept\n"
    policy = "docker inspect --format {{.HostConfig.RestartPolicy.Name}} always stopped"
    assert user.types("ssh", portal, "--", policy).stdout.split() == ["always", "unless-stopped"]
