"""What `up` makes of what the agent says of a machine that it reached."""

from datetime import datetime, timezone
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


@pytest.mark.parametrize("phases", [["ready"], ["opening", "open", "ready"], ["opening", "failed"]])
def test_a_boot_that_begins_anew_is_followed_to_its_end(phases: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may try again by itself, just as we heard that it failed."""
    told, followed = list(phases), []
    monkeypatch.setattr(ready, "finish_boot", lambda host, say: followed.append(say))
    monkeypatch.setattr(ready, "agent_status", lambda host: status(told.pop(0)))
    host: Any = None
    assert ready._finish(host, Console()).phase == phases[-1]
    assert len(followed) == len(phases)
