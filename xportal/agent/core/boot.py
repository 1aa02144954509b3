"""`agent open` and `agent home`: from a machine that just boots to one that can be worked on."""

from __future__ import annotations

import contextlib
import traceback
from typing import Any, Callable, Dict

from . import units
from .config import AgentConfig, DriveConfig, Paths
from .disk import is_there
from .drives import mark_drive, open_drive
from .events import Log
from .files import remove
from .home import let_keys_in, open_home
from .mounts import find_mount, try_unmount
from .process import AgentError, run
from .state import log_path, one_at_a_time, read_state, update_state
from .writeback import bound_dirty


def open_machine(paths: Paths) -> bool:
    """The part before users and network exist: the drives are mounted. Idempotent.

    Returns whether it went well. If not, nothing of ours stays mounted, so that Docker cannot start.
    """
    return told(paths, lambda log: open_all(paths, log))


def make_home(paths: Paths) -> bool:
    """The login user's home, before anybody logs in. Returns whether it went well."""
    return told(paths, lambda log: open_home(paths.get_config()))


def told(paths: Paths, work: Callable[[Log], None]) -> bool:
    """Do some of the boot's work; if it fails, the log and the state say so in words."""
    with one_at_a_time(paths):
        log = Log(log_path(paths, "boot"))
        try:
            work(log)
        except Exception as error:
            words = str(error) if isinstance(error, AgentError) else f"unexpected: {error!r}"
            if not isinstance(error, AgentError):
                traceback.print_exc()
            update_state(paths, phase="saved" if paths.saved.exists() else "failed", error=words)
            log.end(False, words, {})
            return False
        return True


def open_all(paths: Paths, log: Log) -> None:
    """What `open_machine` does. Docker is guarded before anything can fail."""
    config = paths.get_config()
    units.install(config, paths)
    let_keys_in(paths)
    run(["systemctl", "start", "--no-block", units.HOME])
    if paths.saved.exists():
        raise AgentError("this machine has made its final save: it does not open the drive again")
    if read_state(paths)["phase"] in ("open", "ready"):
        log.say("open", "The drive is open already")
        return
    update_state(paths, phase="opening", error=None, portal=config.portal, launch=config.launch)
    if config.attach and not is_there(config.drives[-1], paths):
        log.say("device", "The drive's volume is not attached yet: it is opened when it is")
        run(["systemctl", "start", "--no-block", units.APPEAR])
        return
    # As on every systemd machine, but not in every container: else services keep a view of the drive of their own.
    run(["mount", "--make-rshared", "/"])
    with contextlib.ExitStack() as undo:
        facts = [open_one(config, index, paths, log, undo) for index in range(len(config.drives))]
        undo.pop_all()
    update_state(paths, drives=facts, phase="open", seconds=log.seconds)
    run(["systemctl", "start", "--no-block", units.HOME, units.READY, units.WATCH, units.LEAVE])


def open_one(config: AgentConfig, index: int, paths: Paths, log: Log, undo: contextlib.ExitStack) -> Dict[str, Any]:
    """Open one drive; register its unmounting first."""
    drive = config.drives[index]
    undo.callback(close_one, drive)
    facts = open_drive(drive, paths, log, config.login_user if index == 0 else "")
    log.say("dirty", bound_dirty(facts["device"]))
    mark_drive(drive, config, log)
    if drive.notice.is_symlink() or not drive.notice.is_dir():  # containers can put anything there
        remove(drive.notice)
    return facts


def close_one(drive: DriveConfig) -> None:
    """Undo the mounting of a drive, so that Docker does not start."""
    there = find_mount(str(drive.root))
    if there is not None:
        try_unmount(there.source)
