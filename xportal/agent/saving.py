"""The final save: quiesce, commit, unmount. After it this machine never mounts the drive again."""

from __future__ import annotations

import json
import os
import re
import signal
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional, TypeVar

from . import docker, units
from .config import AgentConfig, Paths
from .containers import record_from_files, record_running
from .events import Log
from .files import read_json, write_json
from .mounts import find_mount, unmount
from .process import AgentError, run
from .state import log_path, one_at_a_time, read_state, update_state
from .whole import is_whole

T = TypeVar("T")
SAVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def request_save(paths: Paths, save: str, grace: int) -> None:
    """Start a save as a unit of its own, and return. A save of this id that is at work or went well is left alone."""
    if not SAVE_ID.fullmatch(save) or save == "boot":
        raise AgentError(f"{save!r} is no id for a save")
    log = log_path(paths, save)
    if units.is_pending(units.save_unit(save)) or is_done(log):
        return
    if log.exists():
        log.unlink()
    write_json(paths.requests / f"{save}.json", {"grace": grace})
    run(["systemctl", "reset-failed", units.save_unit(save)], check=False)
    run(["systemctl", "start", "--no-block", units.save_unit(save)])


def is_done(log: Path) -> bool:
    """Whether the save with this log went well."""
    if not log.exists():
        return False
    last = (log.read_text(encoding="utf-8").splitlines() or ["{}"])[-1]
    return bool(json.loads(last).get("ok"))


def run_save(paths: Paths, save: str) -> bool:
    """The unit's work. Returns whether a snapshot taken now holds everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log = Log(log_path(paths, save))
    for unit in (units.FINISH, units.READY):
        if units.is_pending(unit):
            log.say("boot", "The machine is not ready yet: leaving off its start")
            run(["systemctl", "stop", unit], check=False)
    paths.thaw.touch()  # no checkpoint holds a final save up
    with one_at_a_time(paths):
        try:
            grace = int((read_json(paths.requests / f"{save}.json") or {}).get("grace", 30))
            FinalSave(paths, save, grace, log).run()
        except Exception as error:
            words = str(error) if isinstance(error, AgentError) else f"unexpected: {error!r}"
            if not isinstance(error, AgentError):
                traceback.print_exc()
            update_state(paths, phase="failed", error=words)
            log.end(False, words, {"seconds": log.seconds})
            return False
        return True


class FinalSave:
    """One final save. What fails before the unmount is said and does not stop it: the drive holds it anyway."""

    def __init__(self, paths: Paths, save: str, grace: int, log: Log) -> None:
        self._paths = paths
        self._save = save
        self._grace = grace
        self._log = log
        self._config: AgentConfig = paths.get_config()

    def run(self) -> None:
        """Raises `AgentError` if the drive can be neither unmounted nor frozen."""
        before = read_json(self._paths.saved)
        if before is not None:
            self._log.end(True, None, {**before, "already": True, "seconds": {}})
            return
        update_state(self._paths, phase="saving", error=None)
        result: Dict[str, Any] = {"save": self._save, "already": False, "committed": [], "deferred": []}
        if docker.is_running():
            result.update(self._quiesce())
        elif find_mount(self._config.main.mount):
            self._record_from_files()
        with self._log.step("docker", "Stopping Docker"):
            docker.stop()
        result.update(self._unmount())
        write_json(self._paths.saved, result)
        units.mask_docker()
        update_state(self._paths, phase="saved")
        self._log.end(True, None, {**result, "seconds": self._log.seconds})

    def _quiesce(self) -> Dict[str, Any]:
        client = docker.Docker()
        drive = self._config.main.directory
        infos = self._try("record", "Noting what runs", lambda: record_running(client, drive, self._save))
        if infos is None:
            self._record_from_files()
            return {}
        running = [info["Id"] for info in infos if info["State"].get("Running")]
        text = f"Asking {len(running)} containers to end within {self._grace} s" if running else "No container runs"
        why = self._try("stop", text, lambda: client.stop(running, self._grace))
        if why:
            self._log.say("stop", f"Docker says: {why}")
        if not is_whole():
            reason = "the part of the agent that commits has not come yet"
            return {"deferred": [{"container": info["Name"].lstrip("/"), "reason": reason} for info in infos]}
        from .commits import Commits

        commits = Commits(client, drive, self._log)
        return self._try("commit", "Committing what has changed", lambda: commits.commit_changed(infos)) or {}

    def _record_from_files(self) -> None:
        main = self._config.main
        root = Path(main.mount, "docker")
        self._try("record", "Noting what ran, from Docker's files", lambda: record_from_files(root, main.directory))

    def _unmount(self) -> Dict[str, Any]:
        with self._log.step("sync", "Writing everything to the drive"):
            os.sync()
        clean, unmounted, killed = True, [], []
        with self._log.step("unmount", "Unmounting"):
            for drive in reversed(read_state(self._paths)["drives"]):
                gone, who = unmount(drive["device"], self._log)
                clean = clean and gone
                killed += who
                unmounted += [drive["mount"]] if gone else []
        return {"clean": clean, "unmounted": unmounted, "killed": killed}

    def _try(self, step: str, text: str, work: Callable[[], T]) -> Optional[T]:
        with self._log.step(step, text):
            try:
                return work()
            except (AgentError, OSError, ValueError, KeyError) as error:
                self._log.say(step, f"This did not work, going on without: {error}")
                return None
