"""What the machine's image lacks, installed by its package manager: Docker above all, which plain Amazon Linux has not.

A machine that has just booted may have no network yet, its mirror may not answer, and it may be updating itself: so
what may pass is tried again. That a package is not offered does not pass.

Docker's version is asked for. A drive that a newer Docker has worked on is not opened by an older one. AWS releases
plain Amazon Linux and its Deep Learning image at different times, so the Docker of the day on a CPU machine could be
newer than that of the next GPU machine.
"""

from __future__ import annotations

import re
import shutil
import time
from typing import List, Optional, Sequence

from ..core.events import Log
from ..core.process import AgentError, Done, run, wait_until

DOCKER = 25  # the major version of AWS's GPU images as of October 2026; a drive says whether it needs a newer one
EXT4_PROGRAMS = ("e2fsck", "resize2fs")  # which come with the one that makes a filesystem
SECONDS = 300.0  # in which an installation is tried again
EVERY_SECONDS = 2.0
# One try waits for another dnf that is at work, and to kill it while it writes would leave packages half installed.
TRY_SECONDS = 900.0
# Amazon's dnf.conf lets repositories that do not answer count as empty: no network would look like no such package.
DNF = ("dnf", "install", "-y", "--setopt=*.skip_if_unavailable=0")
NOT_OFFERED = re.compile("No match for argument|Unable to find a match")


class Dnf:
    """The package manager, for as long as an installation may take."""

    def __init__(self, log: Log, seconds: float = SECONDS, every: float = EVERY_SECONDS) -> None:
        self._log = log
        self._every = every
        self._until = time.monotonic() + seconds
        self._told: Optional[str] = None

    def install(self, *words: str) -> bool:
        """Install a package, given with options of dnf. False if no repository has it.

        Raises `AgentError` with dnf's last words if it fails until the time is over.
        """
        if shutil.which("dnf") is None:
            raise AgentError(f"this machine's image has no dnf to install {words[-1]} with")
        done = wait_until(lambda: self._try(words), max(0.0, self._until - time.monotonic()), self._every)
        if done is None:
            raise AgentError(f"{' '.join([*DNF, *words])} failed: {self._told}")
        return done.status == 0

    def _try(self, words: Sequence[str]) -> Optional[Done]:
        """How it ended for good; None if it may go well another time."""
        done = run([*DNF, *words], check=False, timeout=TRY_SECONDS)
        if done.status == 0 or NOT_OFFERED.search(done.out + done.err):
            return done
        why = find_reason(done)
        if why != self._told:
            self._told = why
            self._log.say("install", f"dnf failed, and is tried again: {why}")
        return None


def find_reason(done: Done) -> str:
    """Why a program failed, in its own words: its errors, or else its last line."""
    lines = [line.strip() for line in (done.err.strip() or done.out.strip()).splitlines()]
    return "; ".join([line for line in lines if "error" in line.lower()] or lines[-1:]) or f"status {done.status}"


def install_docker(before: Optional[str], dnf: Dnf, log: Log) -> None:
    """Install Docker: of the Deep Learning image's major version, or of the newer one that has worked on the drive.

    Raises `AgentError` if there is none. What the image's own release does not offer, the newest release may.
    """
    wanted = max(DOCKER, int(before.partition(".")[0]) if before else 0)
    pinned = f"docker-{wanted}.*"
    if dnf.install(pinned) or dnf.install("--releasever=latest", pinned):
        return
    log.say(
        "install",
        f"No repository offers Docker {wanted}: the version that this image offers is installed. Once a Docker has"
        f" worked on a drive, no machine with an older one starts that drive's containers",
    )
    if not dnf.install("docker"):
        raise AgentError("no repository of this machine offers Docker")


def list_missing(programs: Sequence[str] = EXT4_PROGRAMS) -> List[str]:
    """Which of these programs are not installed."""
    return [program for program in programs if shutil.which(program) is None]
