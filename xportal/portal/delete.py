"""`drives delete`: a drive is given up, with all that xportal made of it."""

from __future__ import annotations

from collections.abc import Collection

from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.made import described
from xportal.drive.observe import observe
from xportal.machine.access import forget_login_key, new_claim
from xportal.portal.claims import earlier_claim, give_up
from xportal.portal.machine_saves import RemoteAgent
from xportal.portal.reporting import copy_report
from xportal.progress import Progress
from xportal.reports import DeleteReport
from xportal.spec import check_name
from xportal.undo import Undo


def find_copies(aws: Aws, name: str) -> DeleteReport:
    """What a deletion would delete now, and what would stay: snapshots that were made by hand. Strictly read-only."""
    drive = observe(aws, check_name("drive", name))
    ours = {v.id for v in drive.volumes} | {s.id for s in drive.snapshots if described(s)}
    rows = [copy_report(drive, copy) for copy in sorted(drive.copies, key=drive.order_of)]
    return DeleteReport(name, tuple(r for r in rows if r.id in ours), tuple(r for r in rows if r.id not in ours))


def delete(aws: Aws, name: str, given_up: Collection[str], progress: Progress) -> DeleteReport:
    """Delete the copies with these ids, oldest first, if they are all that xportal made of the drive.

    Raises DriveInUse while it is awake, Refused if there are others; what is deleted by then stays deleted.
    """
    before = find_copies(aws, name)
    claim = earlier_claim(observe(aws, name)) or new_claim()
    with Undo(progress.warn) as undo:
        undo.register("lock", lambda: give_up(aws, name, claim, progress))
        lifecycle = Lifecycle(aws, name, portal=None, agent=RemoteAgent(aws, progress), progress=progress, lock=claim)
        lifecycle.settle(p.Goal.DELETE, given_up=frozenset(given_up))
        undo.keep()
    claim.release()
    forget_login_key(claim.launch)
    left = tuple(copy_report(lifecycle.observed, copy) for copy in lifecycle.observed.copies)
    gone = tuple(row for row in before.deleted if row.id not in {copy.id for copy in left})
    return DeleteReport(name, gone, left)
