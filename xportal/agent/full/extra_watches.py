"""What only the full agent looks for: AWS thinking of taking the machine, nobody using it, a save that was killed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Callable, Optional

from ..core.config import Paths
from ..core.deadline import left
from ..core.files import read_json
from ..core.imds import Imds
from ..core.notices import read
from ..core.process import run
from ..core.save_requests import Request, read_end, read_request
from ..core.state import log_path, read_state
from .checkpoint import request_checkpoint, request_rolling
from .gpu_scopes import keep_gpus
from .idle import Cpu, GpuUse, Idle, find_login
from .settings import get_settings

IDLE_EVERY = 20.0
SPARED_SECONDS = 600.0  # after the announced time
KEEPALIVE = Path("/proc/sys/net/ipv4/tcp_keepalive_time")
KEEPALIVE_SECONDS = "300"  # then a login from a computer that sleeps is found dead, instead of after two hours


def find_rebalance(imds: Imds) -> Optional[str]:
    """When AWS first thought of taking the machine back; None if it has not."""
    told = imds.find("events/recommendations/rebalance")
    return None if told is None else str(read(told).get("noticeTime", told))


class Hints:
    """What has been seen so far."""

    def __init__(
        self,
        paths: Paths,
        imds: Imds,
        ask: Callable[[Paths, str, Request], None],
        say: Callable[[str], None],
        checkpoint: Callable[[Paths, str], None] = request_checkpoint,
        roll: Callable[[Paths, str], None] = request_rolling,
    ) -> None:
        self._paths = paths
        self._imds = imds
        self._ask = ask
        self._say = say
        self._checkpoint = checkpoint
        self._roll = roll
        self._rebalance: Optional[str] = None
        self._settings = get_settings(paths)
        self._idle_seconds = self._settings.idle_minutes * 60
        self._idle = Idle(Cpu(), find_login, GpuUse())
        self._looked = self._rolled = time.monotonic()
        if self._idle_seconds:
            KEEPALIVE.write_text(KEEPALIVE_SECONDS)

    def look(self) -> None:
        """Ask once. Raises `AgentError` if the metadata service does not say."""
        if self._paths.saved.exists():
            self._finish_save()
            return
        state = read_state(self._paths)
        if state["phase"] == "saving" and read_request(self._paths, state["save"]).rehearsal:
            # It may have been killed, and everything is to come back. One that is at work is left alone.
            self._ask(self._paths, state["save"], read_request(self._paths, state["save"]))
        if state["gpus"] and state["phase"] == "ready":
            keep_gpus(self._paths.root, self._paths.get_config().main.docker)
        every = self._settings.checkpoint_minutes * 60
        if every and time.monotonic() - self._rolled >= every:
            self._rolled = time.monotonic()
            self._roll(self._paths, time.strftime("rolling-%Y%m%dT%H%M%SZ", time.gmtime(self._imds.now())))
        rebalance = find_rebalance(self._imds)
        if rebalance and rebalance != self._rebalance:
            self._rebalance = rebalance
            self._say(f"AWS may soon take this machine back (its rebalance recommendation of {rebalance})")
            if self._settings.checkpoint_on_rebalance:
                self._checkpoint(self._paths, f"rebalance-{re.sub('[^A-Za-z0-9]', '', rebalance)[:40]}")
        if self._idle_seconds and time.monotonic() - self._looked >= min(IDLE_EVERY, self._idle_seconds / 4):
            self._looked = time.monotonic()
            self._look_for_use()

    def _finish_save(self) -> None:
        """Have the save go on if it was killed after the unmount: its snapshot and its power off may be missing."""
        save = (read_json(self._paths.saved) or {})["save"]
        if not (self._paths.requests / f"{save}.json").exists():  # a shutdown's
            return
        request = read_request(self._paths, save)
        if not read_end(log_path(self._paths, save)):
            self._ask(self._paths, save, request)
        if request.notice and left(request.at) < -SPARED_SECONDS:
            self._say("AWS has not taken this machine back, and it is of no use any more: power off")
            run(["systemctl", "poweroff"])

    def _look_for_use(self) -> None:
        if self._idle.look() >= self._idle_seconds:
            minutes = self._idle_seconds / 60
            self._say(f"nobody and nothing has used this machine for {minutes:g} minutes: saving, then power off")
            self._ask(self._paths, "idle", Request(snapshot=True, power_off=True))
