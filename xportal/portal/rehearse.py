"""`rehearse`: the save as at AWS's notice, timed against its two minutes, without losing the machine."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from xportal.agent.core.notices import NOMINAL_SECONDS
from xportal.aws.session import Aws
from xportal.errors import MachineLost, Refused, SaveIncomplete
from xportal.foreign import Malformed, field, items
from xportal.portal.access import open_portal
from xportal.portal.agent import deliver, rehearse_save
from xportal.progress import Progress


@dataclass
class RehearsalReport:
    """How a save at a notice would go. Times in seconds."""

    portal: str
    took: float  # until AWS had the snapshots
    limit: float  # AWS's notice
    back: float  # from then on until everything ran again
    steps: dict[str, float] = default(default_factory=dict)  # of the save, in their order
    snapshots: dict[str, str] = default(default_factory=dict)  # of each drive: a checkpoint; empty without a role
    deferred: list[dict[str, str]] = default(default_factory=list)  # {container, reason}: not committed
    killed: list[str] = default(default_factory=list)  # who held a drive

    @property
    def in_time(self) -> bool:
        """Whether the machine would still have had power."""
        return self.took <= self.limit


def rehearse(aws: Aws, name: str, progress: Progress) -> RehearsalReport:
    """End the containers of portal `name`, commit, unmount, take a checkpoint; then bring everything back.

    Raises PortalNotUp, Refused if the machine is not ready, SaveIncomplete if the save would not go well, MachineLost.
    """
    with open_portal(aws, name, progress.update) as portal:
        if portal.status.phase != "ready":
            raise Refused(
                f"{portal.machine.id} is {portal.status.phase}: there is nothing to rehearse",
                hint=f"xportal up {name} makes it ready",
            )
        deliver(portal.host)
        end = rehearse_save(portal.host, f"rehearsal-{secrets.token_hex(4)}", progress.say, progress.warn)
    if not end["ok"]:
        raise SaveIncomplete(
            f"at a notice this save would not go well: {end.get('error')}",
            hint=f"the machine is still there; xportal status {name} tells how it is",
        )
    try:
        return _report(name, end["result"])
    except Malformed as error:
        raise MachineLost(f"the agent's report of the rehearsal makes no sense: {error}") from error


def _report(name: str, result: dict[str, Any]) -> RehearsalReport:
    """Raises Malformed."""
    steps, snapshots = field(result, "steps", dict), field(result, "snapshots", dict)
    deferred = items(result, "deferred", dict)
    return RehearsalReport(
        name,
        field(result, "took", float),
        NOMINAL_SECONDS,
        field(result, "back", float),
        {step: field(steps, step, float) for step in steps},
        {drive: field(snapshots, drive, str) for drive in snapshots},
        [{key: field(one, key, str) for key in ("container", "reason")} for one in deferred],
        items(result, "killed", str),
    )
