"""`drives restore`: the user chooses the copy that a drive goes on from."""

from __future__ import annotations

from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.observe import observe
from xportal.machine.access import forget_login_key, new_claim
from xportal.portal.claims import earlier_claim, give_up
from xportal.portal.machine_saves import RemoteAgent
from xportal.portal.reporting import copy_report
from xportal.progress import Progress
from xportal.reports import CopyReport
from xportal.spec import check_name
from xportal.undo import Undo


def restore(aws: Aws, name: str, copy_id: str, progress: Progress) -> CopyReport:
    """Make a snapshot or volume of drive `name` its newest copy, as a new generation; nothing is copied or deleted.

    Returns the copy as it is now. Raises NoSuchCopy, and DriveInUse while the drive is awake.
    """
    claim = earlier_claim(observe(aws, check_name("drive", name))) or new_claim()
    with Undo(progress.warn) as undo:
        undo.register("lock", lambda: give_up(aws, name, claim, progress))
        lifecycle = Lifecycle(aws, name, portal=None, agent=RemoteAgent(aws, progress), progress=progress, lock=claim)
        lifecycle.settle(p.Goal.RESTORE, choice=copy_id)
        undo.keep()
    claim.release()
    forget_login_key(claim.launch)
    chosen = lifecycle.observed.find_copy(copy_id)
    if chosen is None:
        raise AssertionError("a restore is done when the copy is the newest")
    return copy_report(lifecycle.observed, chosen)
