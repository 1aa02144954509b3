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

from xportal.sandbox.demo.traces import find_traces

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
        return find_traces(self.base, f"{MARK}={self.mark}")
