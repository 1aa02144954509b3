"""What a test session can leave on a computer, and how to tell it from what others do there.

Containers, loop devices and mounts of ours name a directory under pytest's base
directory; processes of ours carry the session's mark in their environment.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

MARK = "XPORTAL_TEST_SESSION"


@functools.cache
def find_what_machines_lack() -> str | None:
    """Say what this computer lacks for the sandbox's machines; None if nothing."""
    if os.geteuid() != 0:
        return "the sandbox's machines need root, for loop devices"
    answer = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return f"the sandbox's machines need Docker Engine: {answer.stderr.strip()}"
    return None


@dataclass
class Session:
    """One run of pytest."""

    base: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def wait_until_nothing_is_left(self, deadline_s: float) -> list[str]:
        """Return what is still left when the deadline has passed, one line each."""
        end = time.monotonic() + deadline_s
        while (left := self.leftovers()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def leftovers(self) -> list[str]:
        """Everything of this session that is there now."""
        if sys.platform != "linux":  # where no test can boot a machine
            return []
        return [*self._containers(), *self._loop_devices(), *self._mounts(), *self._processes()]

    def _containers(self) -> list[str]:
        if find_what_machines_lack():
            return []
        form = '{{.Names}} {{.Label "xportal.sandbox"}}'
        labelled = _lines_of("docker", "ps", "--all", "--filter", "label=xportal.sandbox", "--format", form)
        return [f"container {line}" for line in labelled if self._names(line)]

    def _loop_devices(self) -> list[str]:
        listing = _lines_of("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
        return [f"loop device {line}" for line in listing if self._names(line)]

    def _mounts(self) -> list[str]:
        return [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if self._names(line)]

    def _processes(self) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes().split(b"\0")
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended, or is not ours to read
                continue
            if marked and int(process.name) != os.getpid():
                found.append(f"process {process.name} {command}")
        return found

    def _names(self, text: str) -> bool:
        return f"{self.base}/" in text


def _lines_of(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
