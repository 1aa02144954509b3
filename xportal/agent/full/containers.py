"""Docker's containers on the drive: held back before Docker starts, brought back after.

Docker would start containers with a restart policy before anybody has looked at
the machine. So with dockerd stopped the policies are set aside and GPU access is
made to fit the machine, in Docker's own settings files. That is not an interface
of Docker's: it is done for the versions in `KNOWN` alone, and not if the launch says
so. Otherwise containers whose GPU access does not fit are not started until the whole
agent has made them anew (see `recreating`).

On the drive, each written before what depends on it:
    running.json   {"save", "running": [ids] or null, "failed": {id: when it was started last, or null}, "stop": [ids]}:
                   what the next boot starts, and what Docker starts though nobody wants it. `running` is null while a
                   machine works: after a power cut Docker's own files tell
    aside.json     {id: restart policy} not yet given back
    gpu.json       {id: what the container had asked for}
    recreate.json  [ids] of those that wait to be made anew
    anew.json      {id: {"name", "new": id}} of those that a recreation has not finished with (see `recreating`)
    settings.json  what `docker inspect` said of every container at the last save
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ..core.events import Log
from ..core.files import read_json, remove, write_json
from ..core.mounts import list_mounts
from .docker import Docker, major
from .gpu import plan_gpu
from .sources import find_absent, find_sources, list_shown

KNOWN = range(20, 30)  # major versions whose config.v2.json and hostconfig.json were compared
SPARE = "reserve"  # space on the drive that is kept for a boot, and for what a save has to write down
HALF_MADE = ".xportal-"  # in the names of containers that a recreation has not finished with: anew.json tells whose
NO_POLICY = {"Name": "no", "MaximumRetryCount": 0}


@dataclass(frozen=True)
class Stored:
    """A container as Docker keeps it on disk."""

    directory: Path
    config: Dict[str, Any]
    host: Dict[str, Any]

    @property
    def id(self) -> str:
        """The container's id."""
        return self.directory.name

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.config.get("Name", "")).lstrip("/") or self.id[:12]

    @property
    def labels(self) -> Dict[str, str]:
        """The container's labels."""
        return self.config.get("Config", {}).get("Labels") or {}

    @property
    def policy(self) -> Optional[Dict[str, Any]]:
        """The restart policy, None if it has none."""
        policy = self.host.get("RestartPolicy") or {}
        return policy if policy.get("Name") not in (None, "", "no") else None

    @property
    def should_run(self) -> bool:
        """Whether it ran when the power went, or Docker would have started it again."""
        state = self.config.get("State") or {}
        if state.get("Running") or state.get("Restarting") or state.get("Paused"):
            return True
        stopped = self.config.get("HasBeenManuallyStopped") or not self.config.get("HasBeenStartedBefore")
        return not stopped and (self.policy or {}).get("Name") in ("always", "unless-stopped")


def list_stored(data_root: Path, notes: Dict[str, str]) -> List[Stored]:
    """The containers on disk. What cannot be read is noted and left to Docker."""
    stored = []
    for directory in sorted((data_root / "containers").glob("*/")):
        try:
            config = json.loads((directory / "config.v2.json").read_text(encoding="utf-8"))
            host = json.loads((directory / "hostconfig.json").read_text(encoding="utf-8"))
            stored.append(Stored(directory, config, host))
        except (OSError, ValueError) as error:
            notes[directory.name] = f"its settings cannot be read: {error}"
    return stored


def hold_back(data_root: Path, drive: Path, version: str, gpus: Sequence[str], edit: bool = True) -> Dict[str, str]:
    """Before dockerd starts: note what should run, set restart policies aside, fit GPU access. Idempotent.

    Without `edit`, or with a Docker that is not known, nothing of Docker's is touched: it is noted who has to wait.

    Returns notes by container id.
    """
    notes: Dict[str, str] = {}
    stored = list_stored(data_root, notes)
    edit = edit and major(version) in KNOWN
    record = note_running(stored, drive)
    wanted = [*record["running"], *(record.get("failed") or ())]
    # What somebody had stopped, Docker starts all the same if its policy is `always`. What somebody starts is not here.
    unwanted = [one.id for one in stored if one.policy and one.id not in wanted and not edit]
    write_json(drive / "running.json", {**record, "stop": unwanted})
    wishes = read_json(drive / "gpu.json") or {}
    plans = {one.id: plan_gpu(one.host, one.labels, wishes.get(one.id), gpus) for one in stored}
    keep(drive / "gpu.json", {id_: wish for id_, (_, wish) in plans.items() if wish}, stored)
    half_made = read_json(drive / "anew.json")
    misfits = [
        one.id
        for one in stored
        # An xportal that had no such record went by names. Having to wait is all that a name leads to here.
        if (HALF_MADE in one.name if half_made is None else one.id in str(half_made))
        or (not edit and plans[one.id][0] != one.host)
    ]
    write_json(drive / "recreate.json", misfits)
    notes.update(dict.fromkeys(misfits, "waits to be made anew for this machine"))
    aside = keep(drive / "aside.json", {one.id: one.policy for one in stored if edit and one.policy}, stored)
    if not edit:
        return notes
    for one in stored:
        host, wish = plans[one.id]
        if one.id in aside:
            host = {**host, "RestartPolicy": NO_POLICY}
        if host != one.host:
            write_json(one.directory / "hostconfig.json", host, 0o600)
        if wish:
            notes[one.id] = "has the machine's GPU" if gpus else "runs without a GPU: this machine has none"
    return notes


def name_volumes(data_root: Path, shown: str, version: str) -> None:
    """After Docker has stopped: have it note volumes by the data-root that an xportal of before gives it, `shown`.

    Docker notes the path of each volume of a container when it makes the container, and does not start one whose path
    is not there. On this machine links make both paths right.
    """
    if major(version) not in KNOWN:
        return
    for one in list_stored(data_root, {}):
        points = one.config.get("MountPoints") or {}
        found = [point for point in points.values() if str(point.get("Source")).startswith(f"{data_root}/volumes/")]
        for point in found:
            point["Source"] = shown + point["Source"][len(str(data_root)) :]
        if found:
            write_json(one.directory / "config.v2.json", one.config, 0o600)


def keep(path: Path, new: Dict[str, Any], stored: Sequence[Stored]) -> Dict[str, Any]:
    """Add to a record on the drive, less what is about containers that have gone. Returns the whole."""
    ids = {one.id for one in stored}
    whole = {id_: value for id_, value in {**(read_json(path) or {}), **new}.items() if id_ in ids}
    write_json(path, whole, 0o600)
    return whole


def record_from_files(data_root: Path, drive: Path) -> None:
    """At a save with a Docker that does not answer: note what runs from its files, before it is stopped."""
    remove(drive / SPARE)
    note_running(list_stored(data_root, {}), drive)


def note_running(stored: Sequence[Stored], drive: Path) -> Dict[str, Any]:
    """Make sure that running.json says what to start, from Docker's own files if no save has. Returns what it says."""
    record: Dict[str, Any] = read_json(drive / "running.json") or {}
    if record.get("running") is None:
        ran = [one for one in stored if one.should_run]
        ran.sort(key=lambda one: str(one.config.get("State", {}).get("StartedAt")))
        record.update(running=[one.id for one in ran], failed=dict.fromkeys(record.get("failed") or ()))
        write_json(drive / "running.json", record)
    return record


def bring_back(docker: Docker, drive: Path, log: Log) -> Dict[str, str]:
    """With Docker running: give restart policies back, start what should run. Returns notes by container id.

    What mounts something that is not there stays stopped, and its policy aside, so that nothing starts it. Again in the
    same boot, it tries once more what it could not start, and leaves alone what somebody has started by hand.
    """
    record = read_json(drive / "running.json") or {}
    docker.stop(record.get("stop") or [])
    infos = {info["Id"]: info for info in docker.inspect(docker.list_ids())}
    wanted = [
        id_
        for id_ in dict.fromkeys([*(record.get("running") or ()), *(record.get("failed") or ())])
        if id_ in infos and (record.get("running") is not None or not infos[id_]["State"]["Running"])
    ]
    waiting = read_json(drive / "recreate.json") or []
    sources, shown = find_sources(docker, [infos[id_] for id_ in wanted]), list_shown(list_mounts())
    absent = {id_: f"is not started: {why}" for id_ in wanted if (why := find_absent(sources[id_], shown))}
    stop_started(docker, drive, [infos[id_] for id_ in absent])
    notes = give_policies(docker, drive, [*waiting, *absent])
    failed = start_all(docker, [id_ for id_ in wanted if id_ not in waiting and id_ not in absent])
    absent.update({id_: f"did not start: {why}" for id_, why in failed.items()})
    for id_ in wanted:
        if id_ in absent or id_ not in waiting:
            log.say("containers", f"{infos[id_]['Name'][1:]} {absent.get(id_, 'runs again')}")
    owed = {id_: infos[id_]["State"]["StartedAt"] for id_ in wanted if id_ in absent or id_ in waiting}
    write_json(drive / "running.json", {"save": None, "running": None, "failed": owed})
    return {**notes, **absent}


def start_all(docker: Docker, ids: List[str]) -> Dict[str, str]:
    """Start containers, again and again while that gets one more up: some need others. Returns why the rest did not."""
    failed: Dict[str, str] = {}
    while ids:
        failed = {id_: why for id_, why in ((id_, docker.start(id_)) for id_ in ids) if why}
        if len(failed) == len(ids):
            break
        ids = list(failed)
    return failed


def stop_started(docker: Docker, drive: Path, infos: Sequence[Dict[str, Any]]) -> None:
    """Stop what Docker has started of these, its files not being edited, and set their restart policies aside."""
    policies = {info["Id"]: info["HostConfig"]["RestartPolicy"] for info in infos if info["State"]["Running"]}
    if policies:
        write_json(drive / "aside.json", {**(read_json(drive / "aside.json") or {}), **policies}, 0o600)
        for id_ in policies:
            docker.set_policy(id_, NO_POLICY)
        docker.stop(list(policies))


def give_policies(docker: Docker, drive: Path, held: Sequence[str]) -> Dict[str, str]:
    """Give the restart policies back through Docker, but to those that are held. Returns notes on what it refused."""
    aside = read_json(drive / "aside.json") or {}
    given = [id_ for id_ in aside if id_ not in held]
    refused = {id_: why for id_, why in ((id_, docker.set_policy(id_, aside[id_])) for id_ in given) if why}
    write_json(drive / "aside.json", {id_: aside[id_] for id_ in [*refused, *held] if id_ in aside}, 0o600)
    return {id_: f"its restart policy {aside[id_]['Name']} was not set: {why}" for id_, why in refused.items()}


def record_running(docker: Docker, drive: Path, save: str) -> List[Dict[str, Any]]:
    """At a save: note what runs, and what should but could not. Returns what `docker inspect` says of all."""
    remove(drive / SPARE)
    infos = docker.inspect(docker.list_ids())
    infos.sort(key=lambda info: str(info["State"].get("StartedAt")))
    before = read_json(drive / "running.json") or {}
    # It is owed until somebody has started it, whatever became of it then.
    owed = {**dict.fromkeys(before.get("running") or ()), **dict(before.get("failed") or {})}
    running = [
        info["Id"]
        for info in infos
        if info["State"].get("Running") or owed.get(info["Id"], "") in (None, info["State"]["StartedAt"])
    ]
    write_json(drive / "running.json", {"save": save, "running": running, "failed": {}})
    write_json(drive / "settings.json", infos, 0o600)
    return infos
