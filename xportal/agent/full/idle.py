"""Whether anybody or anything uses the machine: its GPUs, its processors, a login."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Callable, Optional, Sequence

BUSY_CPU = 0.1  # of one core: what a machine does for itself is a tenth of this
SSH_PORT = 22
ESTABLISHED = "01"
TICKS = 100  # a second, in /proc: Linux's USER_HZ
QUESTION = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")  # per cent, a GPU a line
ANSWER_SECONDS = 5.0
LATE_SECONDS = 60.0  # the driver may take half a minute for an answer if nothing keeps it awake


class Idle:
    """Looks from time to time, and tells for how long nothing has been used. Seconds, by `clock`.

    Each of `uses` answers what it sees in use, or None; the cheap ones come first.
    """

    def __init__(self, *uses: Callable[[], Optional[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._uses = uses
        self._clock = clock
        self._since = clock()

    def look(self) -> float:
        """For how long the machine has been idle."""
        if any(use() for use in self._uses):
            self._since = self._clock()
        return self._clock() - self._since


class Cpu:
    """The processors' time that this machine's processes have taken, children that ended included."""

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._before = self._clock(), self._seconds()

    def __call__(self) -> Optional[str]:
        """What `Idle` asks."""
        (began, spent), self._before = self._before, (self._clock(), self._seconds())
        now, total = self._before
        return "the processors" if total - spent > BUSY_CPU * (now - began) else None

    def _seconds(self) -> float:
        return sum(ticks_of(entry) for entry in self._proc.iterdir() if entry.name.isdigit()) / TICKS


def ticks_of(process: Path) -> int:
    """A process's time in user and kernel mode, with that of its children that ended; 0 if it has ended."""
    try:
        fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])


def find_login(proc: Path = Path("/proc")) -> Optional[str]:
    """Whether somebody is connected by ssh, with or without a terminal."""
    for table in ("tcp", "tcp6"):
        path = proc / "net" / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == SSH_PORT and fields[3] == ESTABLISHED:
                return "a login"
    return None


class GpuUse:
    """Whether a GPU works. A driver that fell over lets nvidia-smi hang for ever, and nothing ends it then.

    Until an answer is late the GPU may work, and it counts as used.
    """

    def __init__(
        self,
        argv: Sequence[str] = QUESTION,
        seconds: float = ANSWER_SECONDS,
        late: float = LATE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._argv = argv
        self._seconds = seconds
        self._late = late
        self._clock = clock
        self._since = 0.0
        self._asked: Optional[subprocess.Popen[str]] = None

    def __call__(self) -> Optional[str]:
        """What `Idle` asks. Where there is no GPU, none works; nor does one whose driver does not answer."""
        try:
            if self._asked is None:
                self._asked, self._since = self._ask(), self._clock()
            out = self._asked.communicate(timeout=self._seconds)[0]
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired:  # it is asked again, once the one that hangs has ended
            return "a GPU, perhaps" if self._clock() - self._since < self._late else None
        status, self._asked = self._asked.returncode, None
        # A GPU in parts (MIG) has no figure: it may work.
        return "a GPU" if status == 0 and any(word.strip() != "0" for word in out.splitlines()) else None

    def _ask(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
