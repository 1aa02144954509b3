"""The agent on a portal's machine, as this computer speaks to it: one JSON status, and logs that are followed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xportal.errors import MachineLost, RemoteFailed, SaveIncomplete
from xportal.remote import Host

AGENT = "/opt/xportal/agent"
SAVE_SECONDS = 3600.0  # a commit of a large layer may take long; the agent itself says when it is over


@dataclass(frozen=True)
class DriveStatus:
    """A drive as the machine sees it; sizes in bytes."""

    name: str
    mount: str
    volume_id: str
    generation: int
    size_bytes: int
    used_bytes: int

    @property
    def used_fraction(self) -> float:
        """Between 0 and 1."""
        return self.used_bytes / self.size_bytes if self.size_bytes else 0.0


@dataclass(frozen=True)
class AgentStatus:
    """What `agent status` says."""

    phase: str  # opening, open, ready, saving, saved, failed
    error: str | None
    gpu: bool
    docker: str | None
    drives: tuple[DriveStatus, ...]
    containers: tuple[dict[str, Any], ...]


def agent_status(host: Host) -> AgentStatus:
    """Ask the agent. Raises MachineLost if it is not there or makes no sense."""
    try:
        told = json.loads(host.run(["sudo", AGENT, "status"], timeout=30.0).stdout)
        drives = tuple(DriveStatus(**{f: d[f] for f in DriveStatus.__dataclass_fields__}) for d in told["drives"])
        return AgentStatus(
            told["phase"], told.get("error"), bool(told["gpu"]), told.get("docker"), drives, tuple(told["containers"])
        )
    except (RemoteFailed, ValueError, KeyError, TypeError) as error:
        raise MachineLost(f"the agent does not answer: {error}", hint="xportal down saves what was written") from error


def follow(host: Host, log: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Tell an agent's log line by line as it grows; its end line. Raises MachineLost if it breaks off."""
    try:
        for line in host.lines(["sudo", AGENT, "follow", log]):
            event: dict[str, Any] = json.loads(line)
            if event.get("end"):
                return event
            say(event["text"])
    except (RemoteFailed, ValueError) as error:
        raise MachineLost(f"the agent's log {log} broke off: {error}") from error
    raise MachineLost(f"the agent's log {log} ended too early")


def final_save(host: Host, say: Callable[[str], None], *, grace: float | None = None) -> dict[str, Any]:
    """Have the agent stop everything, commit, and unmount for good; its report.

    It runs as a unit on the machine: a connection that drops does it no harm. Raises SaveIncomplete if the
    agent could not unmount, MachineLost if it does not answer.
    """
    save_id = f"save-{secrets.token_hex(4)}"
    argv = ["sudo", AGENT, "save", save_id, "--kind", "final"]
    try:
        host.run([*argv, "--grace", str(grace)] if grace is not None else argv, timeout=60.0)
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not save: {error.message}") from error
    end = follow(host, save_id, say)
    if not end["ok"]:
        raise SaveIncomplete(
            f"the agent could not finish the save: {end.get('error')}",
            hint="the drive is still on the machine; run xportal down again",
        )
    result: dict[str, Any] = end["result"]
    return result
