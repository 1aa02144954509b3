"""Boots that did not come to their end: the agent was killed, or the drive was full. `up` has them go on."""

from __future__ import annotations

from .config import Paths
from .disk import is_there
from .drives import open_drive
from .events import Log
from .finishing import tidy
from .mounts import find_mount
from .opening import close_one, make_ready, open_machine
from .process import AgentError, run
from .reserve import give_reserve, is_full
from .state import log_path, one_at_a_time, read_state, update_state


def go_on(paths: Paths) -> bool:
    """`agent ready`, where the drive may have to be opened first: the agent was killed as it did, or found it full."""
    with one_at_a_time(paths):  # whoever is at it ends first
        config, phase = paths.get_config(), read_state(paths)["phase"]
        if phase == "failed" and make_room(paths):
            log_path(paths, "boot").unlink()  # it has an end
            text = "The drive is full: what was kept of its space for that is free now, so that you can make room"
            Log(log_path(paths, "boot")).say("room", text)
            update_state(paths, phase="opening", error=None)
            run(["systemctl", "reset-failed"], check=False)  # Docker has been tried too often
            phase = "opening"
    if phase == "opening" and (not config.attach or is_there(config.drives[-1], paths)):
        open_machine(paths)
    if not make_ready(paths):
        return False
    tidy(paths)  # no checkpoint has to wait for that
    return True


def make_room(paths: Paths) -> bool:
    """Give a full drive its reserve. False if it is not full, or has none any more, which the state's error tells."""
    drive = paths.get_config().main
    before = find_mount(drive.mount)
    log = Log(log_path(paths, "again"))
    try:
        open_drive(drive, paths, log)
    except AgentError as error:  # said before, in the boot's log
        log.end(False, str(error), {})
        return False
    full = is_full(drive.directory)
    given = full and give_reserve(drive.directory)
    if full and not given:
        text = f"drive {drive.name} is full: xportal down, then xportal up with a larger --size"
        update_state(paths, error=text)
    if before is None:
        close_one(drive)
    return given
