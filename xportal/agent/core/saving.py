"""The final save: quiesce, commit, unmount. After it this machine never mounts the drive again."""

from __future__ import annotations

import signal
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

from . import docker, units
from .config import AgentConfig, Paths
from .containers import record_from_files, record_running
from .deadline import RESERVE, left, plan_grace
from .events import Log
from .extensions import Extensions
from .files import read_json, write_json
from .mounts import find_mount, unmount
from .process import AgentError, Done, run
from .requests import Request, read_request
from .state import log_path, one_at_a_time, read_state, update_state

T = TypeVar("T")
PATIENCE = 5.0  # seconds in which AWS may take the snapshot of a machine that could be off
LEAST_SECONDS = 5.0  # that Docker gets to answer, however late it is
WORD = "save.json"


def run_save(paths: Paths, save: str, more: Extensions) -> bool:
    """The unit's work. Returns whether a snapshot taken now holds everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make_save(paths, save, read_request(paths, save), more)


def make_save(paths: Paths, save: str, request: Request, more: Extensions) -> bool:
    """A save as asked for, told in its log. Returns whether it went well."""
    log = Log(log_path(paths, save))
    for unit in (units.FINISH, units.READY):
        if units.is_pending(unit):
            log.say("boot", "The machine is not ready yet: leaving off its start")
            run(["systemctl", "stop", unit], check=False)
    paths.thaw.touch()  # no checkpoint holds a final save up
    try:
        with one_at_a_time(paths):
            work = FinalSave(paths, save, request, log, more)
            result = more.rehearse(paths, work.close, work.take_snapshots, log) if request.rehearsal else work.run()
        # Others may save now, and find it done: AWS may take its time, or never answer.
        if request.snapshot and result["save"] == save and not request.rehearsal:
            until = request.at if request.notice else None
            result["snapshots"] = work.take_snapshots("final", until or time.monotonic() + PATIENCE)
    except Exception as error:
        words = str(error) if isinstance(error, AgentError) else f"unexpected: {error!r}"
        if not isinstance(error, AgentError):
            traceback.print_exc()
        update_state(paths, phase="saved" if paths.saved.exists() else "failed", error=words)
        log.end(False, words, {"seconds": log.seconds})
        return False
    log.end(True, None, {**result, "seconds": {} if result["already"] else log.seconds})
    if request.power_off:
        run(["systemctl", "poweroff"], check=False)
    return True


class FinalSave:
    """One final save. What fails before the unmount is said and does not stop it: the drive holds it anyway."""

    def __init__(self, paths: Paths, save: str, request: Request, log: Log, more: Extensions) -> None:
        self._paths = paths
        self._save = save
        self._request = request
        self._log = log
        self._more = more
        self._config: AgentConfig = paths.get_config()

    def run(self) -> Dict[str, Any]:
        """The result. Raises `AgentError` if the drive can be neither unmounted nor frozen."""
        before = read_json(self._paths.saved)
        if before is not None:
            return {**before, "already": True}
        result = self.close()
        try:
            write_json(self._paths.saved, result)
        except OSError as error:  # the root disk is full, and the drive is saved all the same
            self._log.say("saved", f"That is not noted on this machine: {error}")
        units.mask_docker()
        update_state(self._paths, phase="saved")
        return result

    def close(self) -> Dict[str, Any]:
        """All but the marks that nothing is opened again."""
        update_state(self._paths, phase="saving", save=self._save, error=None)
        result: Dict[str, Any] = {"save": self._save, "already": False, "committed": [], "deferred": []}
        if docker.is_running():
            result.update(self._quiesce())
        elif find_mount(self._config.main.mount):
            self._record_from_files()
        self._leave_word(result)
        with self._log.step("docker", "Stopping Docker"):
            docker.stop()
        result.update(self._unmount())
        return result

    def take_snapshots(self, kind: str, until: float) -> Dict[str, str]:
        """Of the unmounted drives, with the machine's role; {drive: snapshot}. The others are the next `up`'s."""
        drives = read_state(self._paths)["drives"]
        with self._log.step("snapshot", "Asking AWS for the snapshot"):
            return self._more.take_snapshots(self._config, drives, self._save, kind, self._log, lambda: left(until))

    def _quiesce(self) -> Dict[str, Any]:
        client = docker.Docker(self._run_soon)
        drive = self._config.main.directory
        infos = self._try("record", "Noting what runs", lambda: record_running(client, drive, self._save))
        if self._request.notice:
            self._try(
                "notice", "Telling programs", lambda: self._more.tell_programs(self._paths, self._request, self._log)
            )
        if infos is None:
            self._record_from_files()
            return {}
        running = [info["Id"] for info in infos if info["State"].get("Running")]
        grace = plan_grace(self._left(), self._request.grace)
        text = f"Asking {len(running)} containers to end within {grace} s" if running else "No container runs"
        why = self._try("stop", text, lambda: client.stop(running, grace))
        if why:
            self._log.say("stop", f"Docker says: {why}")
        self._sync()  # commits may take the time that is left
        return self._try("commit", "Committing what has changed", lambda: self._commit(infos)) or {}

    def _commit(self, infos: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
        return self._more.commit(infos, self._config.main.directory, self._left, self._log)

    def _left(self) -> float:
        """Seconds; AWS's notice may come while a save is at work that has all the time."""
        notices = [read_json(path)["at"] for path in self._paths.requests.glob("notice-*.json")]
        return min(map(left, [self._request.at, *notices]))

    def _run_soon(self, argv: Sequence[str], *, check: bool = True, timeout: Optional[float] = None) -> Done:
        """`run`: a Docker that hangs does not take the seconds that the rest needs."""
        if self._request.at is not None:
            most = max(LEAST_SECONDS, self._left() - RESERVE)
            timeout = min(timeout or most, most)
        return run(argv, check=check, timeout=timeout)

    def _leave_word(self, result: Dict[str, Any]) -> None:
        """What the next machine tells of this one's end."""
        main = self._config.main
        word = {**result, "notice": self._request.notice, "seconds": self._log.seconds}
        if find_mount(main.mount):
            self._try("word", "Writing down how this went", lambda: write_json(main.directory / WORD, word))

    def _record_from_files(self) -> None:
        main = self._config.main
        root = Path(main.mount, "docker")
        self._try("record", "Noting what ran, from Docker's files", lambda: record_from_files(root, main.directory))

    def _mounted(self) -> List[Tuple[str, str]]:
        """Mount points and devices of the drives, those of a boot that was cut included."""
        known = {drive["mount"]: drive["device"] for drive in read_state(self._paths)["drives"]}
        found = [(drive.mount, find_mount(drive.mount)) for drive in self._config.drives]
        return list({**{point: mount.source for point, mount in found if mount}, **known}.items())

    def _sync(self) -> None:
        with self._log.step("sync", "Writing everything to the drive"):
            run(["sync", "-f", *dict(self._mounted())], check=False)

    def _unmount(self) -> Dict[str, Any]:
        self._sync()
        clean, unmounted, killed = True, [], []
        with self._log.step("unmount", "Unmounting"):
            for point, device in reversed(self._mounted()):
                gone, who = unmount(device, self._log, self._more.release)
                clean = clean and gone
                killed += who
                unmounted += [point] if gone else []
        return {"clean": clean, "unmounted": unmounted, "killed": killed}

    def _try(self, step: str, text: str, work: Callable[[], T]) -> Optional[T]:
        with self._log.step(step, text):
            try:
                return work()
            except (AgentError, OSError, ValueError, KeyError) as error:
                self._log.say(step, f"This did not work, going on without: {error}")
                return None
