"""`save`: a checkpoint of a portal's drive while the work on it goes on."""

from __future__ import annotations

import secrets
from collections import Counter

from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.snapshots import Agent
from xportal.portal.find import find_drives
from xportal.portal.names import check_known
from xportal.portal.reporting import save_seconds, snapshot_report
from xportal.progress import Progress
from xportal.reports import DriveSavedReport, SaveReport
from xportal.spec import check_name


def save(aws: Aws, name: str, progress: Progress, agent: Agent, *, wait: bool = True) -> SaveReport:
    """Take a checkpoint of portal `name`; without `wait`, only until AWS has started it.

    What it holds is fixed when it is started. Raises PortalNotUp, DriveInUse, SnapshotFailed, MachineLost.
    """
    began = aws.clock.monotonic()
    check_name("portal", name)
    check_known(aws, name)
    choice = f"save-{secrets.token_hex(4)}"
    saved: list[DriveSavedReport] = []
    seconds: Counter[str] = Counter()
    for drive in find_drives(aws, name):  # the first takes it of all
        lifecycle = Lifecycle(aws, drive, portal=name, agent=agent, progress=progress)
        lifecycle.settle(p.Goal.SAVE, choice=choice, wait=wait)
        taken = lifecycle.observed.checkpoint_of(choice)
        if taken is None:
            raise AssertionError("a save is done when its checkpoint is observed")
        saved.append(DriveSavedReport(drive, snapshot_report(taken)))
        seconds.update(lifecycle.seconds)
    return SaveReport(name, tuple(saved), save_seconds(seconds, aws.clock.monotonic() - began))
