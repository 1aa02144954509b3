"""The end of containers at a save: each in its own time, and in the deadline's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest

from xportal.agent.core.deadline import plan_grace
from xportal.agent.core.process import Done
from xportal.agent.full.docker import Docker
from xportal.agent.full.stop_containers import LONGEST, patience, stop_containers


class FakeDocker:
    """Containers that end so many seconds after they are asked to, unless Docker kills them before."""

    def __init__(self, **needs: float) -> None:
        self.needs = needs
        self.given: dict[str, float] = {}
        self.killed: list[str] = []

    def __call__(self, argv: Sequence[str], *, check: bool = True, timeout: float | None = None) -> Done:
        verb, *words = argv[1:]
        if verb == "stop":
            seconds, ids = int(words[1]), words[2:]
            self.given.update(dict.fromkeys(ids, seconds))
            until = time.monotonic() + min(seconds, max(self.needs[id_] for id_ in ids))
            while time.monotonic() < until and not set(ids) <= set(self.killed):
                time.sleep(0.02)
            for id_ in ids:
                self.needs.pop(id_, None)
        elif verb == "ps":
            return Done(0, "\n".join(self.needs), "")
        else:
            assert verb == "kill"
            self.killed += words
        return Done(0, "", "")


def info(name: str, own: int | None = None) -> dict[str, Any]:
    """What `docker inspect` says, in short."""
    return {"Id": name, "Name": f"/{name}", "Config": {"StopTimeout": own} if own is not None else {}}


@pytest.mark.parametrize(
    ("own", "grace", "left", "given"),
    [
        (None, None, inf, 30),
        (60, None, inf, 60),
        (7, None, inf, 7),
        (0, None, inf, 2),
        (-1, None, inf, LONGEST),
        (3600, None, inf, 3600),
        (60, 5, inf, 5),
        (None, 300, inf, 300),
        (None, None, 120.0, 30),
        (60, None, 120.0, 40),
        (-1, None, 120.0, 40),
        (60, None, 50.0, 5),
    ],
)
def test_each_gets_its_own_time_as_far_as_there_is_some(
    own: int | None, grace: int | None, left: float, given: int
) -> None:
    """`docker run --stop-timeout`, or 30 s; all the same with `down --grace`; at a notice no more than can be had."""
    docker = FakeDocker(train=0, web=0)
    infos = [info("train", own), info("web", 9)]
    times = {one["Id"]: plan_grace(left, patience(one, grace)) for one in infos}
    assert stop_containers(Docker(docker), times, lambda: left) is None
    assert docker.given["train"] == given
    assert docker.given["web"] == (grace or (5 if left == 50.0 else 9))
    assert docker.killed == []


def test_a_notice_that_comes_meanwhile_rules() -> None:
    """One that has ten minutes is killed when the notice leaves no more, and nobody waits for Docker's own time."""
    began = time.monotonic()
    docker = FakeDocker(train=600, web=0)

    def left() -> float:
        return inf if time.monotonic() < began + 1 else began + 45 - time.monotonic()  # at a notice that came late

    assert stop_containers(Docker(docker), {"train": 600, "web": 30}, left) is None
    assert docker.given == {"train": 600, "web": 30}
    assert docker.killed == ["train"]
    assert time.monotonic() - began < 15
