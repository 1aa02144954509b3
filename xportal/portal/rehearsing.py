"""`rehearse`: the save as at AWS's notice, timed against its two minutes, without losing the machine."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from xportal.agent.core.notices import NOMINAL_SECONDS
from xportal.aws.session import Aws
from xportal.drive.lifecycle import Story
from xportal.errors import Refused, SaveIncomplete
from xportal.portal.access import open_portal
from xportal.portal.agent import deliver, rehearse_save


@dataclass
class RehearsalReport:
    """How a save at a notice would go. Times in seconds."""

    portal: str
    took: float  # until AWS had the snapshots
    limit: float  # AWS's notice
    back: float  # from then on until everything ran again
    steps: dict[str, float] = field(default_factory=dict)  # of the save, in their order
    snapshots: dict[str, str] = field(default_factory=dict)  # of each drive: a checkpoint; empty without a role
    deferred: list[dict[str, str]] = field(default_factory=list)  # {container, reason}: not committed
    killed: list[str] = field(default_factory=list)  # who held a drive

    @property
    def in_time(self) -> bool:
        """Whether the machine would still have had power."""
        return self.took <= self.limit


def rehearse(aws: Aws, name: str, story: Story) -> RehearsalReport:
    """End the containers of portal `name`, commit, unmount, take a checkpoint; then bring everything back.

    Raises PortalNotUp, Refused if the machine is not ready, SaveIncomplete if the save would not go well, MachineLost.
    """
    with open_portal(aws, name) as portal:
        if portal.status.phase != "ready":
            raise Refused(
                f"{portal.machine.id} is {portal.status.phase}: there is nothing to rehearse",
                hint=f"xportal up {name} makes it ready",
            )
        deliver(portal.host)
        end = rehearse_save(portal.host, f"rehearsal-{secrets.token_hex(4)}", story.say)
    if not end["ok"]:
        raise SaveIncomplete(
            f"at a notice this save would not go well: {end['error']}",
            hint=f"the machine is still there; xportal status {name} tells how it is",
        )
    result = end["result"]
    return RehearsalReport(
        name,
        result["took"],
        NOMINAL_SECONDS,
        result["back"],
        result["steps"],
        result["snapshots"],
        result["deferred"],
        result["killed"],
    )
