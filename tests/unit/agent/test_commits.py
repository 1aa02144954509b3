"""When a save commits a container, when it does not, and what becomes of the image before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.events import Log
from xportal.agent.core.process import AgentError, Done
from xportal.agent.full.commits import Budget, Commits, image_name
from xportal.agent.full.docker import Docker
from xportal.agent.full.docker_api import Engine

Save = Callable[..., dict[str, Any]]  # its arguments: `docker inspect`'s answers, and what `commit_changed` takes


class FakeDocker(Engine):
    """Answers ps, diff, image inspect and rmi, and as the API commit; images are numbered."""

    def __init__(self) -> None:
        self.diff: str | None = "C /etc\n"  # None: it is not to be asked for
        self.size = "1000\n"
        self.images: dict[str, list[str]] = {}
        self.removed: list[str] = []
        self.made = 0
        self.is_full = False
        self.hangs = ""

    def __call__(self, argv: Sequence[str], check: bool = True, timeout: float | None = None) -> Done:
        """Like `process.run`."""
        verb = argv[1]
        if verb == self.hangs:
            raise AgentError(f"docker {verb} did not end in time")
        if verb == "ps":
            return Done(0, "c" * 64, "")
        if verb == "diff":
            assert self.diff is not None
            return Done(0, self.diff, "")
        if verb == "container":
            return Done(0, self.size, "")
        if verb == "image":
            return Done(0, json.dumps(self.images[argv[-1]]), "")
        if verb == "rmi":
            self.removed.append(argv[-1])
            return Done(0, "", "")
        raise AgentError(f"docker {verb}?")

    def find_image(self, image: str) -> dict[str, Any]:
        """What Docker knows of an image."""
        return {"Config": {"Shell": ["sh"]}}

    def commit(self, container: str, name: str, image: dict[str, Any]) -> str:
        """The name moves to the new image."""
        assert image["Config"]["Shell"] == ["sh"]
        if self.is_full:
            raise AgentError(f"no space for {name}")
        self.made += 1
        self.images = {id_: [tag for tag in tags if tag != name] for id_, tags in self.images.items()}
        self.images[f"sha256:{self.made}"] = [name]
        return f"sha256:{self.made}"


def container(name: str = "train", started: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """What `docker inspect` says, in short."""
    return {"Id": "c" * 64, "Name": f"/{name}", "Image": "i", "Config": {}, "State": {"StartedAt": started}}


@pytest.fixture
def docker() -> FakeDocker:
    """A Docker with one changed container."""
    return FakeDocker()


@pytest.fixture
def save(docker: FakeDocker, tmp_path: Path) -> Save:
    """One save after another on the same drive."""

    def run(*infos: dict[str, Any], seconds_left: Callable[[], float] = lambda: inf, **more: bool) -> dict[str, Any]:
        budget = Budget(seconds_left)
        return Commits(docker, Docker(docker), tmp_path, Log(tmp_path / "log"), budget).commit_changed(infos, **more)

    return run


def test_a_changed_container_is_committed_once_per_start(docker: FakeDocker, save: Save) -> None:
    """Unchanged since its last commit means: not started since."""
    assert save(container())["committed"] == [{"container": "train", "image": "xportal/train:latest"}]
    assert save(container())["committed"] == []
    assert len(save(container(started="2026-02-02T00:00:00Z"))["committed"]) == 1


def test_a_commit_of_what_goes_on_running_is_not_the_last(save: Save) -> None:
    """What it changes from now on is the next save's."""
    assert save(container(), go_on=True)["committed"]
    assert save(container())["committed"]


def test_a_container_that_never_ran_or_changed_nothing_is_not_committed(docker: FakeDocker, save: Save) -> None:
    """An image that would say nothing new is not made."""
    assert save(container(started="0001-01-01T00:00:00Z"))["committed"] == []
    docker.diff = "\n"
    assert save(container())["committed"] == []


def test_the_image_before_is_removed_when_nothing_names_it(docker: FakeDocker, save: Save) -> None:
    """Hundreds of saves leave one image a container; an image with another name stays."""
    save(container(started="1"))
    save(container(started="2"))
    assert docker.removed == ["sha256:1"]
    docker.images["sha256:2"].append("mine:v1")
    save(container(started="3"))
    assert docker.removed == ["sha256:1"]


@pytest.mark.parametrize("verb", ["ps", "image", "rmi"])
def test_what_was_committed_and_deferred_is_told_though_old_images_stay(
    docker: FakeDocker, save: Save, verb: str
) -> None:
    """The seconds of a notice may be over before they are removed; the next machine commits what was deferred."""
    save(container(started="1"))
    docker.hangs = verb
    assert save(container(started="2"))["committed"]
    docker.size = str(1 << 60)
    assert save(container(started="3"))["deferred"]
    docker.hangs = ""
    save()
    assert docker.removed == ["sha256:1"]


def test_no_space_defers_the_commit(docker: FakeDocker, save: Save) -> None:
    """A copy of the layer that does not fit is not begun: the layer is on the drive anyway."""
    docker.size = str(1 << 60)
    result = save(container())
    assert result["committed"] == []
    assert "free" in result["deferred"][0]["reason"]
    assert docker.made == 0


def test_a_commit_that_may_not_end_in_time_is_deferred(docker: FakeDocker, save: Save, tmp_path: Path) -> None:
    """The drive's own speed is measured, and nothing of that stays on it."""
    docker.size = str(64 << 20)
    begins = iter([60.0])  # and never less than this tenth of a second is left, however slow the computer is
    result = save(container(), seconds_left=lambda: next(begins, 40.1))
    assert "commits have 0 s" in result["deferred"][0]["reason"]
    assert docker.made == 0
    assert save(container(), seconds_left=lambda: 4000.0)["deferred"] == []
    assert not (tmp_path / "probe").exists()


def test_a_commit_that_fails_does_not_stop_the_next(docker: FakeDocker, save: Save) -> None:
    """Each container for itself."""
    docker.is_full = True
    result = save(container("a"), container("b"))
    assert [one["container"] for one in result["deferred"]] == ["a", "b"]


def test_without_time_nothing_is_asked_of_docker(docker: FakeDocker, save: Save) -> None:
    """To find out what has changed may take long, too; what has not run needs no commit."""
    docker.diff = None
    result = save(container(), container("b", started="0001-01-01T00:00:00Z"), seconds_left=lambda: 30.0)
    assert [left["container"] for left in result["deferred"]] == ["train"]


def test_a_commit_ends_when_its_time_does() -> None:
    """A notice may come in the middle of one that had all the time; what is quick goes on as ever."""
    left = iter([inf, inf, inf])
    budget = Budget(lambda: next(left, 0.0))
    assert budget.run(["echo", "x"]) == Done(0, "x\n", "")
    assert budget.run(["sh", "-c", "exit 3"], check=False).status == 3
    with pytest.raises(AgentError, match="status 3: why"):
        budget.run(["sh", "-c", "echo why >&2; exit 3"])
    began = time.monotonic()
    with pytest.raises(AgentError, match="sleep 60 did not end in time"):
        budget.run(["sleep", "60"])
    assert time.monotonic() - began < 20
    assert list(left) == []


def test_docker_s_own_limits_hold_as_well() -> None:
    """A Docker that does not answer is not waited for."""
    with pytest.raises(AgentError, match="did not end in time"):
        Budget().run(["sleep", "60"], timeout=0.1)


@pytest.mark.parametrize(
    ("container_name", "image"),
    [
        ("train", "xportal/train:latest"),
        ("a.b_c--d", "xportal/a.b_c--d:latest"),
        ("Train_1", "xportal/train-1-abcdef:latest"),
        ("a..b-", "xportal/a-b-abcdef:latest"),
    ],
)
def test_image_names_are_legal(container_name: str, image: str) -> None:
    """Docker allows more in the names of containers than in those of images."""
    assert image_name(container_name, "abcdef0123") == image
