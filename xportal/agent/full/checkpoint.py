"""A checkpoint's moment of stillness: the drives are frozen until they are told to thaw, or the watchdog thaws them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Callable, Iterable, Iterator, List, Optional

from ..core import units
from ..core.config import Paths
from ..core.events import Log
from ..core.files import read_json, write_json
from ..core.imds import Imds
from ..core.mounts import find_mount
from ..core.process import AgentError, run, wait_until
from ..core.state import log_path, one_at_a_time, read_state
from .snapshots import ROLLING, is_any_pending, take_snapshots

UNIT_SECONDS = 90  # with the wait for a save or a boot that is at work
LIMIT_SECONDS = 30.0  # a container that may not write for longer is worse than a checkpoint as after a power cut


def request_freeze(paths: Paths, freeze: str) -> None:
    """Start a freeze as a unit of its own, and return."""
    start(paths, freeze, None)


def request_checkpoint(paths: Paths, freeze: str) -> None:
    """Start one that lasts until the machine itself has taken the snapshots, and return."""
    start(paths, freeze, "checkpoint")


def request_rolling(paths: Paths, freeze: str) -> None:
    """The same for checkpoints that go once a later final save is complete."""
    start(paths, freeze, ROLLING)


def start(paths: Paths, freeze: str, kind: Optional[str]) -> None:
    """Start the unit, which takes snapshots of that kind. Raises `AgentError` if there is nothing to freeze."""
    check_open(paths)
    write_json(paths.requests / f"{freeze}.json", {"snapshot": kind})
    run(plan_unit(freeze))


def plan_unit(freeze: str) -> List[str]:
    """The command line that starts the unit. However it ends, what it has frozen thaws."""
    limits = ["--property", f"TimeoutStartSec={UNIT_SECONDS}"]
    thaws = ["--property", f"ExecStopPost={units.COMMAND} thaw-own {freeze}"]
    how = ["--quiet", "--collect", "--no-block", "--service-type=oneshot", "--unit", freeze_unit(freeze)]
    return ["systemd-run", *how, *limits, *thaws, units.COMMAND, "run-freeze", freeze]


def freeze_unit(freeze: str) -> str:
    """The unit of one freeze."""
    return f"xportal-freeze@{freeze}.service"


def check_open(paths: Paths) -> None:
    """Raises `AgentError` if there is nothing to freeze."""
    phase = read_state(paths)["phase"]
    if phase not in ("open", "ready"):
        raise AgentError(f"the drive is not open on this machine: {phase}")


def run_freeze(paths: Paths, freeze: str, limit: float = LIMIT_SECONDS) -> bool:
    """The unit's work: freeze, wait for `thaw` or the limit, thaw. The unit itself thaws when this is killed.

    The log says `frozen` when it is; the end's result is {"in_time": whether it was told to thaw}.
    """
    log = Log(log_path(paths, freeze))
    kind = (read_json(paths.requests / f"{freeze}.json") or {}).get("snapshot")
    with one_at_a_time(paths):
        try:
            check_open(paths)  # a save may have come before
            if kind == ROLLING and is_any_pending(paths.get_config(), read_state(paths)["drives"]):
                log.end(True, None, {"skipped": "the snapshot before is not complete yet"})
                return True
            if paths.thaw.exists():  # of an earlier one
                paths.thaw.unlink()
            is_over = take_checkpoint(paths, freeze, kind, log) if kind else paths.thaw.exists
            points = mount_points(paths)
            write_json(frozen_path(paths, freeze), points)
            try:
                in_time = hold(points, is_over, log, limit)
            finally:  # what is frozen from now on is not ours to thaw
                frozen_path(paths, freeze).unlink()
        except AgentError as failure:
            log.end(False, str(failure), {})
            return False
    log.end(True, None, {"in_time": in_time, "seconds": log.seconds})
    return True


def hold(points: List[str], is_over: Callable[[], bool], log: Log, limit: float) -> bool:
    """Keep filesystems frozen until `is_over` or the limit. Returns whether it was over in time."""
    run(["sync", "-f", *points])  # what takes long is written before anybody has to wait
    with frozen(points, log):
        in_time = bool(wait_until(is_over, limit, every=0.02))
    log.say("thawed", "Thawed" if in_time else f"Thawed after {limit:.0f} s: nobody said so")
    return in_time


@contextmanager
def frozen(points: List[str], log: Log) -> Iterator[None]:
    """Filesystems are frozen meanwhile. Raises `AgentError` if one cannot be."""
    with ExitStack() as undo, log.step("freeze", "Freezing"):
        for point in points:
            undo.callback(run, ["fsfreeze", "-u", point], check=False)
            run(["fsfreeze", "-f", point], timeout=LIMIT_SECONDS)
        log.say("frozen", "Frozen")
        yield


def take_checkpoint(paths: Paths, save: str, kind: str, log: Log, imds: Optional[Imds] = None) -> Callable[[], bool]:
    """What begins to take snapshots of the frozen drives, with the machine's role, and tells whether to thaw.

    One that fails is not waited for, and none while a final save waits: AWS may be slow, and work stands still.
    """
    facts = (paths.get_config(), read_state(paths)["drives"], save, kind, log, lambda: 0.0, imds)
    work = Thread(target=take_snapshots, args=facts, daemon=True)

    def is_over() -> bool:
        if work.ident is None:
            work.start()
        return not work.is_alive() or paths.thaw.exists()

    return is_over


def mount_points(paths: Paths) -> List[str]:
    """Where this machine's drives are mounted. Raises `AgentError` if one is not."""
    points = [drive["mount"] for drive in read_state(paths)["drives"]]
    missing = [point for point in points if find_mount(point) is None]
    if missing or not points:
        raise AgentError(f"not mounted: {', '.join(missing) or 'any drive'}")
    return points


def thaw(paths: Paths) -> None:
    """Have the freeze that is at work end now."""
    paths.thaw.touch()


def frozen_path(paths: Paths, freeze: str) -> Path:
    """What this freeze has frozen, written before it does."""
    return paths.requests / f"{freeze}.frozen"


def thaw_own(paths: Paths, freeze: str) -> None:
    """After a freeze, which may have been killed: what it froze is not frozen. What a save has frozen stays so."""
    points = read_json(frozen_path(paths, freeze)) or []
    frozen_path(paths, freeze).unlink(missing_ok=True)
    thaw_all(points)


def thaw_all(points: Iterable[str]) -> None:
    """Nothing there stays frozen."""
    for point in points:
        run(["fsfreeze", "-u", point], check=False)
