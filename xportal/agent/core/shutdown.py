"""`agent leave`: the machine shuts down, whoever asked for that, and the drive is saved before."""

from __future__ import annotations

import time

from .config import Paths
from .extensions import Extensions
from .final_save import make_save
from .process import run
from .save_requests import Request
from .steps import Steps

SECONDS = 100.0  # of the unit's TimeoutStopSec; AWS waits for minutes
COMES_BACK = {"reboot.target", "kexec.target", "soft-reboot.target"}


def leave(paths: Paths, more: Extensions) -> None:
    """When its unit is stopped: save if that is because the machine ends. After a reboot what runs now runs again."""
    jobs = {word for line in run(["systemctl", "list-jobs"], check=False).out.splitlines() for word in line.split()}
    if "shutdown.target" not in jobs or paths.saved.exists():
        return
    if not jobs & COMES_BACK:
        make_save(Steps(paths, "shutdown", Request(at=time.monotonic() + SECONDS, snapshot=True)), more)
    else:
        more.leave_for_reboot(paths)
