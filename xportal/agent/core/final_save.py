"""The final save: quiesce, commit, unmount. After it this machine never mounts the drive again."""

from __future__ import annotations

import signal
import time
import traceback
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import units
from .config import Paths
from .deadline import left
from .disk import find_disk
from .events import Log
from .extensions import Extensions
from .files import read_json, write_json
from .mounts import Mount, find_device, find_mount, unmount
from .process import AgentError, run, told_to_end
from .save_requests import read_request
from .state import log_path, one_at_a_time, read_state, update_state
from .steps import Steps

PATIENCE = 5.0  # seconds in which AWS may take the snapshot of a machine that could be off
WAIT_SECONDS = 300.0  # for a boot that is at work, or a checkpoint


def run_save(paths: Paths, save: str, more: Extensions) -> bool:
    """The unit's work. Returns whether a snapshot taken now holds everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make_save(Steps(paths, save, read_request(paths, save)), more)


def make_save(steps: Steps, more: Extensions) -> bool:
    """A save as asked for, told in its log, and what is to come after it. Returns whether it went well."""
    request, work = steps.request, FinalSave(steps, more)
    went_well = work_off(work, steps, more)
    is_alone = request.attended and not told_to_end(steps.limits.attended)
    if is_alone and went_well:
        steps.log = Log(log_path(steps.paths, f"{steps.save}-alone"))  # the save's has its end
        work.take_snapshots("final", time.monotonic() + PATIENCE)
    if request.power_off or is_alone:  # who asked has vanished: the machine would cost for ever, and is of no use
        run(["systemctl", "poweroff"], check=False)
    return went_well


def work_off(work: FinalSave, steps: Steps, more: Extensions) -> bool:
    """The save itself, to the end of its log."""
    paths, save, request, log = steps.paths, steps.save, steps.request, steps.log
    paths.thaw.touch()  # no checkpoint holds a final save up
    try:
        for unit in (units.FINISH, units.READY):
            if units.is_pending(unit):
                log.say("boot", "The machine is not ready yet: leaving off its start")
                run(["systemctl", "stop", unit], check=False, timeout=steps.limit())
        with one_at_a_time(paths, steps.limit(WAIT_SECONDS)):
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
    faults = "; ".join(dict.fromkeys(result["faults"]))
    log.end(not faults, faults or None, {**result, "seconds": {} if result["already"] else log.seconds})
    return not faults


class FinalSave:
    """One final save. What fails before the unmount is said and does not stop it: the drive holds it anyway."""

    def __init__(self, steps: Steps, more: Extensions) -> None:
        self._steps = steps
        self._more = more
        self._paths = steps.paths
        self._config = steps.paths.get_config()

    def run(self) -> Dict[str, Any]:
        """The result. With `faults` a snapshot taken now is a checkpoint, and that of the detached volume is final."""
        before = read_json(self._paths.saved)
        if before is not None and not before.get("faults"):
            return {**before, "already": True, "faults": []}
        result = self.close()
        try:
            write_json(self._paths.saved, result)
        except OSError as error:  # as when the root disk is full: a reboot would open the drive again
            self._steps.faults.append(f"the machine cannot note that it has made its final save: {error}")
        units.mask_docker()
        update_state(self._paths, phase="saved")
        return result

    def close(self) -> Dict[str, Any]:
        """All but the marks that nothing is opened again."""
        save = self._steps.save
        update_state(self._paths, phase="saving", save=save, error=None)
        result = {"save": save, "already": False, "faults": self._steps.faults, **self._more.quiesce(self._steps)}
        points = [mount.point for _, _, mount in self._devices() if mount]
        self._steps.sync("Writing everything to the drive", points)
        return {**result, "killed": self._unmount()}

    def take_snapshots(self, kind: str, until: float) -> Dict[str, str]:
        """Of all drives, with the machine's role; {drive: snapshot}. The others are the next `up`'s.

        With faults none is a final one.
        """
        drives, log = read_state(self._paths)["drives"], self._steps.log
        kind = "checkpoint" if self._steps.faults else kind
        with log.step("snapshot", "Asking AWS for the snapshot"):
            return self._more.take_snapshots(self._config, drives, self._steps.save, kind, log, lambda: left(until))

    def _devices(self) -> Iterator[Tuple[str, str, Optional[Mount]]]:
        """Of each drive that is there: its name, its device, and where that is mounted, by whomever."""
        known = {drive["name"]: drive["device"] for drive in read_state(self._paths)["drives"]}
        for drive in self._config.drives:
            disk, there = find_disk(drive, self._paths), find_mount(str(drive.root))
            device = disk.path if disk else there.source if there else known.get(drive.name)
            if device:
                yield drive.name, device, find_device(device)

    def _unmount(self) -> List[str]:
        """Returns who was ended for it."""
        killed = []
        for name, device, mount in reversed(list(self._devices())):
            if mount and mount.options.startswith("ro"):
                self._steps.faults.append(f"drive {name} has become read-only")
            work = partial(unmount, device, self._steps.log, self._more.release)
            gone, who = self._steps.attempt("unmount", f"Unmounting drive {name}", work) or (False, [])
            killed += who
            if not gone:
                self._steps.faults.append(f"drive {name} could not be unmounted")
        return killed
