"""Boots that did not come to their end: the agent was killed, or the drive was full. `up` has them go on."""

from __future__ import annotations

from ..core import units
from ..core.boot import close_one, open_machine, told
from ..core.config import Paths
from ..core.disk import is_there
from ..core.drives import open_drive
from ..core.events import Log
from ..core.home import open_home
from ..core.mounts import find_mount
from ..core.process import AgentError, run, wait_until
from ..core.state import log_path, one_at_a_time, read_state, update_state
from .boot_end import finish_boot, tell_before, tidy
from .packages import Dnf, list_missing
from .spare_space import give_reserve, is_full
from .start_containers import start_containers

SECONDS = 60.0  # in which the kernel shows a volume that AWS attaches


def go_on(paths: Paths) -> bool:
    """`agent ready`, where the drive may have to be opened first: the agent was killed as it did, or found it full."""
    with one_at_a_time(paths):  # whoever is at it ends first
        config, phase = paths.get_config(), read_state(paths)["phase"]
        if phase == "failed":
            phase = try_again(paths)
    if phase == "opening" and (not config.attach or wait_until(lambda: is_there(config.drives[-1], paths), SECONDS)):
        open_machine(paths)
    if not told(paths, lambda log: finish(paths, log)):
        return False
    tidy(paths)  # no checkpoint has to wait for that
    return True


def finish(paths: Paths, log: Log) -> None:
    """With the drive open: the home directory, Docker, containers. It ends the boot's log."""
    if read_state(paths)["phase"] != "open":
        return
    config = paths.get_config()
    open_home(config)
    if not read_state(paths)["started"]:
        start_containers(config, paths, log)
    before = tell_before(config, paths, log)
    log.end(True, None, {**finish_boot(config, paths, log), "before": before})
    # From now on it looks for more than the core does.
    run(["systemctl", "try-restart", units.WATCH], check=False)


def try_again(paths: Paths) -> str:
    """From where a boot failed, if there is any hope: the drive is open, or it was full. Returns the phase."""
    missing = list_missing()
    if missing:
        return bring_programs(paths, ", ".join(missing))
    if make_room(paths):
        text = "The drive is full: what was kept of its space for that is free now, so that you can make room"
        phase = "opening"
    elif read_state(paths)["drives"] and all(find_mount(drive.mount) for drive in paths.get_config().drives):
        text, phase = "The drive is open: trying Docker again", "open"
    else:
        return "failed"
    begin_again(paths, text, phase)
    return phase


def begin_again(paths: Paths, text: str, phase: str) -> Log:
    """The boot's log and state, as of a boot that is at work again."""
    log_path(paths, "boot").unlink()  # it has an end
    log = Log(log_path(paths, "boot"))
    log.say("again", text)
    update_state(paths, phase=phase, error=None)
    run(["systemctl", "reset-failed"], check=False)  # Docker has been tried too often
    return log


def bring_programs(paths: Paths, missing: str) -> str:
    """Install what the image lacks to open a drive. Returns the phase."""
    log = begin_again(paths, f"This machine's image lacks {missing}: installing e2fsprogs", "opening")
    try:
        if not Dnf(log).install("e2fsprogs"):
            raise AgentError("no repository offers e2fsprogs")
    except AgentError as error:
        words = f"the drive cannot be opened without {missing}: {error}"
        update_state(paths, phase="failed", error=words)
        log.end(False, words, {})
        return "failed"
    return "opening"


def make_room(paths: Paths) -> bool:
    """Give a full drive its reserve. False if it is not full, or has none any more, which the state's error tells."""
    config = paths.get_config()
    drive = config.main
    before = find_mount(drive.mount)
    log = Log(log_path(paths, "again"))
    try:
        open_drive(drive, paths, log, config.login_user)
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
