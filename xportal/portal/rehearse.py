"""`rehearse`: the save as at AWS's notice, timed against its two minutes, without losing the machine."""

from __future__ import annotations

import secrets
from typing import Any

from xportal.agent.core.notices import NOMINAL_SECONDS
from xportal.aws.session import Aws
from xportal.errors import MachineLost, Refused, SaveIncomplete
from xportal.foreign import Malformed, field, items
from xportal.portal.access import open_portal
from xportal.portal.agent import deliver, rehearse_save
from xportal.progress import Progress
from xportal.reports import NotCommittedReport, RehearsalReport


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
    took = field(result, "took", float)
    return RehearsalReport(
        portal=name,
        took=took,
        limit=NOMINAL_SECONDS,
        in_time=took <= NOMINAL_SECONDS,
        back=field(result, "back", float),
        steps={step: field(steps, step, float) for step in steps},
        snapshots={drive: field(snapshots, drive, str) for drive in snapshots},
        deferred=tuple(
            NotCommittedReport(field(one, "container", str), field(one, "reason", str))
            for one in items(result, "deferred", dict)
        ),
        killed=tuple(items(result, "killed", str)),
    )
