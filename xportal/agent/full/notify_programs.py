"""Telling programs that the machine will go: those in containers by a file, the user's own command by running it."""

from __future__ import annotations

import json

from ..core.config import Paths
from ..core.deadline import left
from ..core.events import Log
from ..core.files import write_whole
from ..core.process import run
from ..core.save_requests import Request
from .settings import get_settings
from .throughput import plan_hook


def tell_programs(paths: Paths, request: Request, log: Log) -> None:
    """Training code gets its chance. Raises `AgentError` if the user's command takes longer than can be spared."""
    config = paths.get_config()
    for drive in config.drives:
        try:
            write_whole(drive.notice, json.dumps(request.notice) + "\n")
        except OSError as error:  # containers can put anything there, a directory too
            log.say("notice", f"{drive.notice} cannot be written: {error}")
    command = get_settings(paths).on_notice
    if command:
        argv = ["runuser", "-u", config.login_user, "--", "sh", "-c", command]
        seconds = plan_hook(left(request.at))
        done = run(argv, check=False, timeout=seconds, XPORTAL_NOTICE=str(config.main.notice))
        said = (done.out + done.err).strip().splitlines()
        log.say("notice", f"on_notice ended with status {done.status}" + (f": {said[-1]}" if said else ""))
