"""What `up` makes of what the agent says of a machine that it reached."""

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from xportal.aws.records import Instance
from xportal.console import Console
from xportal.errors import MachineLost, Refused
from xportal.portal.agent import AgentStatus
from xportal.portal.up import ready
from xportal.portal.up.ready import check_ready

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
MACHINE = Instance("i-1", "running", "c5.large", "us-east-1a", NOW, "ami-1", tags={"xportal:portal": "demo"})


def status(phase: str, error: str | None = None) -> AgentStatus:
    """What the agent says."""
    return AgentStatus(phase, error, None, None, (), ())


def test_the_agent_s_reason_is_passed_on() -> None:
    """An older Docker, a drive that cannot be mounted: in the agent's own words."""
    with pytest.raises(MachineLost, match="i-1 is not usable: Docker 29 has worked on drive demo"):
        check_ready(MACHINE, status("failed", "Docker 29 has worked on drive demo"))


@pytest.mark.parametrize("phase", ["saving", "saved"])
def test_a_machine_on_its_way_down_is_not_handed_out(phase: str) -> None:
    """Its drive has left it."""
    with pytest.raises(Refused, match="being brought down"):
        check_ready(MACHINE, status(phase))


def test_a_machine_that_is_ready_is_good() -> None:
    """Nothing is raised."""
    check_ready(MACHINE, status("ready"))


class Booting:
    """A FAKE of a host whose agent is in one phase after the other."""

    def __init__(self, phases: list[str]) -> None:
        self._phases = list(phases)
        self.followed = 0

    def run(self, argv: list[str], **_: object) -> Any:
        """`agent status`, and a unit that starts."""
        told = {"phase": self._phases.pop(0), "drives": [], "containers": []} if argv[-1] == "status" else {}
        return SimpleNamespace(stdout=json.dumps(told))

    def lines(self, _: list[str]) -> Iterator[str]:
        """The boot's log: its end."""
        self.followed += 1
        yield json.dumps({"end": True, "ok": True, "result": {}})


@pytest.mark.parametrize("phases", [["ready"], ["opening", "open", "ready"], ["opening", "failed"]])
def test_a_boot_that_begins_anew_is_followed_to_its_end(phases: list[str]) -> None:
    """The machine may try again by itself, just as we heard that it failed."""
    machine = Booting(phases)
    host: Any = machine
    assert ready._finish(host, Console()).phase == phases[-1]
    assert machine.followed == len(phases)
