"""The final save: quiesce, commit, unmount. After it this machine never mounts the drive again."""

from __future__ import annotations

import signal
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

from . import docker, units
from .config import AgentConfig, Paths
from .containers import record_from_files, record_running
from .deadline import RESERVE, left, plan_grace
from .disk import find_disk
from .events import Log
from .extensions import Extensions
from .files import read_json, write_json
from .mounts import Mount, find_device, find_mount, unmount
from .process import AgentError, Done, limited, run
from .requests import Request, read_request
from .state import log_path, one_at_a_time, read_state, update_state

T = TypeVar("T")
PATIENCE = 5.0  # seconds in which AWS may take the snapshot of a machine that could be off
LEAST_SECONDS = 5.0  # that a step gets, however late it is
STEP_SECONDS = 60.0  # more than any step needs: what waits in memory for a drive is bounded
COMMIT_SECONDS = 3600.0
WAIT_SECONDS = 300.0  # for a boot that is at work, or a checkpoint
WORD = "save.json"


def run_save(paths: Paths, save: str, more: Extensions) -> bool:
    """The unit's work. Returns whether a snapshot taken now holds everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make_save(paths, save, read_request(paths, save), more)


def make_save(paths: Paths, save: str, request: Request, more: Extensions) -> bool:
    """A save as asked for, told in its log. Returns whether it went well."""
    log = Log(log_path(paths, save))
    work = FinalSave(paths, save, request, log, more)
    paths.thaw.touch()  # no checkpoint holds a final save up
    try:
        for unit in (units.FINISH, units.READY):
            if units.is_pending(unit):
                log.say("boot", "The machine is not ready yet: leaving off its start")
                run(["systemctl", "stop", unit], check=False, timeout=work.limit(STEP_SECONDS))
        with one_at_a_time(paths, work.limit(WAIT_SECONDS)):
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
    faults = "; ".join(result["faults"])
    log.end(not faults, faults or None, {**result, "seconds": {} if result["already"] else log.seconds})
    if request.power_off:
        run(["systemctl", "poweroff"], check=False)
    return not faults


class FinalSave:
    """One final save. What fails before the unmount is said and does not stop it: the drive holds it anyway.

    Every step has a limit, since a dead disk, file server or Docker may never answer.
    """

    def __init__(self, paths: Paths, save: str, request: Request, log: Log, more: Extensions) -> None:
        self._paths = paths
        self._save = save
        self._request = request
        self._log = log
        self._more = more
        self._config: AgentConfig = paths.get_config()
        self._faults: List[str] = []  # why a snapshot taken now would be no final one

    def run(self) -> Dict[str, Any]:
        """The result. With `faults` a snapshot taken now is a checkpoint, and that of the detached volume is final."""
        before = read_json(self._paths.saved)
        if before is not None and not before.get("faults"):
            return {**before, "already": True, "faults": []}
        result = self.close()
        try:
            write_json(self._paths.saved, result)
        except OSError as error:  # as when the root disk is full: a reboot would open the drive again
            self._faults.append(f"the machine cannot note that it has made its final save: {error}")
        units.mask_docker()
        update_state(self._paths, phase="saved")
        return result

    def close(self) -> Dict[str, Any]:
        """All but the marks that nothing is opened again."""
        update_state(self._paths, phase="saving", save=self._save, error=None)
        result: Dict[str, Any] = {"save": self._save, "already": False, "committed": [], "deferred": []}
        result["faults"] = self._faults
        if docker.is_running():
            result.update(self._quiesce())
        elif find_mount(self._config.main.mount):
            self._record_from_files()
        self._leave_word(result)
        self._try("docker", "Stopping Docker", docker.stop)
        self._sync()
        return {**result, "killed": self._unmount()}

    def take_snapshots(self, kind: str, until: float) -> Dict[str, str]:
        """Of all drives, with the machine's role; {drive: snapshot}. The others are the next `up`'s.

        With faults none is a final one.
        """
        drives = read_state(self._paths)["drives"]
        kind = "checkpoint" if self._faults else kind
        with self._log.step("snapshot", "Asking AWS for the snapshot"):
            return self._more.take_snapshots(self._config, drives, self._save, kind, self._log, lambda: left(until))

    def limit(self, seconds: float) -> float:
        """What a step may take that usually takes less than these seconds: never more than half of what is left."""
        return max(LEAST_SECONDS, min(seconds, self._left() / 2))

    def _quiesce(self) -> Dict[str, Any]:
        client = docker.Docker(self._run_soon)
        drive = self._config.main.directory
        infos = self._try("record", "Noting what runs", lambda: record_running(client, drive, self._save))
        if self._request.notice:
            tell = self._more.tell_programs
            self._try("notice", "Telling programs", lambda: tell(self._paths, self._request, self._log))
        if infos is None:
            self._record_from_files()
            return {}
        running = [info["Id"] for info in infos if info["State"].get("Running")]
        grace = plan_grace(self._left(), self._request.grace)
        text = f"Asking {len(running)} containers to end within {grace} s" if running else "No container runs"
        why = self._try("stop", text, lambda: client.stop(running, grace), grace + STEP_SECONDS)
        if why:
            self._log.say("stop", f"Docker says: {why}")
        self._sync()  # commits may take the time that is left
        commit = partial(self._more.commit, infos, drive, self._left, self._log)
        return self._try("commit", "Committing what has changed", commit, COMMIT_SECONDS) or {}

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

    def _devices(self) -> Iterator[Tuple[str, str, Optional[Mount]]]:
        """Of each drive that is there: its name, its device, and where that is mounted, by whomever."""
        known = {drive["name"]: drive["device"] for drive in read_state(self._paths)["drives"]}
        for drive in self._config.drives:
            disk, there = find_disk(drive, self._paths), find_mount(drive.mount)
            device = disk.path if disk else there.source if there else known.get(drive.name)
            if device:
                yield drive.name, device, find_device(device)

    def _sync(self) -> None:
        points = [mount.point for _, _, mount in self._devices() if mount]
        sync = partial(run, ["sync", "-f", *points])
        if points and self._try("sync", "Writing everything to the drive", sync) is None:
            self._faults.append("not everything could be written")

    def _unmount(self) -> List[str]:
        """Returns who was ended for it."""
        killed = []
        for name, device, mount in reversed(list(self._devices())):
            if mount and mount.options.startswith("ro"):
                self._faults.append(f"drive {name} has become read-only")
            work = partial(unmount, device, self._log, self._more.release)
            gone, who = self._try("unmount", f"Unmounting drive {name}", work) or (False, [])
            killed += who
            if not gone:
                self._faults.append(f"drive {name} could not be unmounted")
        return killed

    def _try(self, step: str, text: str, work: Callable[[], T], seconds: float = 0) -> Optional[T]:
        with self._log.step(step, text):
            try:
                return limited(work, self.limit(seconds or STEP_SECONDS))
            except (AgentError, OSError, ValueError, KeyError) as error:
                self._log.say(step, f"This did not work, going on without: {error}")
                return None
