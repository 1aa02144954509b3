"""Waiting for a machine: what its agent tells may be old by the time that it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from xportal.console import Console
from xportal.portal import ready
from xportal.portal.agent import AgentStatus


@pytest.mark.parametrize("phases", [["ready"], ["opening", "open", "ready"], ["opening", "failed"]])
def test_a_boot_that_begins_anew_is_followed_to_its_end(phases: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may try again by itself, just as we heard that it failed."""
    told, followed = list(phases), []
    monkeypatch.setattr(ready, "finish_boot", lambda host, say: followed.append(say))
    monkeypatch.setattr(ready, "agent_status", lambda host: AgentStatus(told.pop(0), None, None, None, (), ()))
    host: Any = None
    assert ready._finish(host, Console()).phase == phases[-1]
    assert len(followed) == len(phases)
