"""`drives prune`: snapshots that the user does not keep are deleted."""

from __future__ import annotations

from collections.abc import Collection

from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive import refusals
from xportal.drive.keep import Keep, needless
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.observe import observe
from xportal.portal.machine_saves import RemoteAgent
from xportal.portal.reporting import copy_report
from xportal.progress import Progress
from xportal.reports import PruneReport
from xportal.spec import check_name


def find_needless(aws: Aws, name: str, keep: Keep) -> PruneReport:
    """What a prune would delete now. Strictly read-only. Raises DriveForked if the user has to choose a copy first."""
    drive = observe(aws, check_name("drive", name))
    unclear = refusals.unclear(drive)
    if unclear:
        raise unclear
    going = needless(drive, keep)
    return PruneReport(name, tuple(copy_report(drive, s) for s in going), len(drive.snapshots) - len(going))


def prune(aws: Aws, name: str, keep: Keep, progress: Progress, given_up: Collection[str] = ()) -> PruneReport:
    """Delete them, of `given_up` alone if that names any: what came after the user was asked stays.

    Raises DriveForked, AwsError; what is deleted by then stays deleted, and a later prune goes on.
    """
    before = observe(aws, check_name("drive", name))
    lifecycle = Lifecycle(aws, name, portal=None, agent=RemoteAgent(aws, progress), progress=progress)
    lifecycle.settle(p.Goal.PRUNE, keep=keep, given_up=frozenset(given_up))
    left = {snapshot.id for snapshot in lifecycle.observed.snapshots}
    gone = tuple(copy_report(before, snapshot) for snapshot in before.snapshots if snapshot.id not in left)
    return PruneReport(name, gone, len(left))
