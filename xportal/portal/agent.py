"""The agent on a portal's machine, as this computer speaks to it: one JSON status, and logs that are followed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from typing import Any

from xportal.agent.core.units import FINISH
from xportal.errors import MachineGone, MachineLost, RemoteFailed, SaveIncomplete, UsageError
from xportal.foreign import Malformed, field, items, optional
from xportal.machine.userdata import deliver_argv, full_agent
from xportal.progress import Progress
from xportal.remote import Host
from xportal.spec import FileSpec, UnattendedSpec

AGENT = "/opt/xportal/agent"
FOLLOW_ATTEMPTS = 5
DELIVERY_SECONDS = 60.0
AGAIN_SECONDS = 120.0
ROLE_SECONDS = 60.0
LOST = "lost"  # the step of a log's sentences on what goes with the machine


@dataclass(frozen=True)
class DriveStatus:
    """A drive as the machine sees it; sizes in bytes."""

    name: str
    mount: str
    volume_id: str
    generation: int
    size_bytes: int | None  # None while it is not mounted
    used_bytes: int | None


@dataclass(frozen=True)
class ContainerStatus:
    """A container on the machine. An agent of before tells nothing of `warnings`."""

    name: str
    running: bool
    id: str | None = None
    gpu: bool | None = None  # it has the machine's
    note: str | None = None  # why it is as it is
    warnings: tuple[str, ...] = ()  # what it writes off the drives


@dataclass(frozen=True)
class Leaving:
    """Why a machine's save is at work, or was made."""

    why: str  # notice, idle, shutdown, rehearsal, down; another word of a newer agent
    time: str | None = None  # when AWS takes it back, as AWS said


@dataclass(frozen=True)
class AgentStatus:
    """What `agent status` says. An agent of before tells nothing of `leaving` and `settings`."""

    phase: str  # opening, open, ready, saving, saved, failed
    error: str | None
    gpu: str | None  # its name
    docker: str | None
    drives: tuple[DriveStatus, ...]
    containers: tuple[ContainerStatus, ...]
    leaving: Leaving | None = None
    settings: UnattendedSpec | None = None  # what the machine does by itself


@dataclass(frozen=True)
class KeptSpec:
    """A spec's file, as it is kept on the drive."""

    file: str
    digest: str
    text: str


def deliver(host: Host) -> None:
    """Put the full agent on the machine, which has its core alone at first. Idempotent. Raises MachineLost."""
    full = full_agent()
    try:
        host.run(deliver_argv(full), input=full, timeout=DELIVERY_SECONDS)
    except RemoteFailed as error:
        raise MachineLost(f"the agent cannot be put on the machine: {error}") from error


def change_settings(host: Host, alone: UnattendedSpec) -> None:
    """Have the agent do by itself what the user wants of it; what they do not say stays. Raises MachineLost."""
    changes = {name: value for name, value in asdict(alone).items() if value is not None}
    if not changes:
        return
    try:
        host.run(["sudo", AGENT, "settings", json.dumps(changes)], timeout=30.0)
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not take its settings: {error}") from error


def remember(host: Host, remembered: Mapping[str, str]) -> None:
    """Have the agent put these tags on the snapshots that it takes by itself. Raises MachineLost."""
    if not remembered:
        return
    try:
        host.run(["sudo", AGENT, "remember", json.dumps(dict(remembered))], timeout=30.0)
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not take what the portal remembers: {error}") from error


def keep_spec(host: Host, file: FileSpec) -> None:
    """Have the agent keep a spec's file on the drive, as its user wrote it. Raises MachineLost."""
    told = {"file": file.follows.file, "digest": file.follows.digest, "text": file.text}
    try:
        host.run(["sudo", AGENT, "keep-spec"], input=json.dumps(told).encode(), timeout=30.0)
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not keep the spec: {error}") from error


def kept_spec(host: Host) -> KeptSpec | None:
    """What the agent keeps of the last spec's file; None if the portal never had one. Raises MachineLost."""
    try:
        told = json.loads(host.run(["sudo", AGENT, "spec"], timeout=30.0).stdout)
        return None if told is None else KeptSpec(*(field(told, key, str) for key in ("file", "digest", "text")))
    except (RemoteFailed, ValueError, RecursionError) as error:
        raise MachineLost(f"the agent does not tell the spec: {error}") from error


def finish_boot(host: Host, say: Callable[[str], None]) -> dict[str, Any]:
    """Have the agent, full now, do the last part of the boot, and follow it to its end line. Raises MachineLost."""
    try:
        host.run(["sudo", "systemctl", "start", "--no-block", FINISH], timeout=30.0)
    except RemoteFailed as error:
        raise MachineLost(f"the boot cannot be finished: {error}") from error
    *_, end = follow(host, "boot", say)
    return end


def agent_status(host: Host) -> AgentStatus:
    """Ask the agent. Raises MachineLost if it is not there or makes no sense."""
    try:
        told = json.loads(host.run([AGENT, "status"], timeout=30.0).stdout)
        return AgentStatus(
            field(told, "phase", str),
            optional(told, "error", str),
            optional(told, "gpu", str),
            optional(told, "docker", str),
            tuple(map(_drive_status, items(told, "drives", dict))),
            tuple(map(_container, items(told, "containers", dict))),
            _leaving(optional(told, "leaving", dict)),
            _settings(optional(told, "settings", dict)),
        )
    except (RemoteFailed, ValueError, RecursionError) as error:
        raise MachineLost(f"the agent does not answer: {error}", hint="xportal down saves what was written") from error


def role_problem(host: Host) -> str:
    """Why the machine could take no snapshot by itself, "" if it could; no `up` fails for it. Raises MachineLost."""
    try:
        told = json.loads(host.run(["sudo", AGENT, "try-role"], timeout=ROLE_SECONDS).stdout)
        return optional(told, "error", str) or ""
    except (RemoteFailed, ValueError, RecursionError) as error:
        return f"the agent does not try it: {error}"


def _drive_status(told: Mapping[str, Any]) -> DriveStatus:
    """Raises Malformed."""
    return DriveStatus(
        field(told, "name", str),
        field(told, "mount", str),
        field(told, "volume_id", str),
        field(told, "generation", int),
        optional(told, "size_bytes", int),
        optional(told, "used_bytes", int),
    )


def _leaving(told: Mapping[str, Any] | None) -> Leaving | None:
    """Raises Malformed."""
    return None if told is None else Leaving(field(told, "why", str), optional(told, "time", str))


def _settings(told: Mapping[str, Any] | None) -> UnattendedSpec | None:
    """Raises Malformed."""
    if told is None:
        return None
    try:
        return UnattendedSpec(
            on_notice=optional(told, "on_notice", str),
            idle_minutes=optional(told, "idle_minutes", float),
            checkpoint_on_rebalance=optional(told, "checkpoint_on_rebalance", bool),
            checkpoint_minutes=optional(told, "checkpoint_minutes", float),
        )
    except UsageError as error:
        raise Malformed(error.message) from error


def _container(told: Mapping[str, Any]) -> ContainerStatus:
    """Raises Malformed."""
    return ContainerStatus(
        name=field(told, "name", str),
        running=field(told, "running", bool),
        id=optional(told, "id", str),
        gpu=optional(told, "gpu", bool),
        note=optional(told, "note", str),
        warnings=tuple(items(told, "warnings", str)) if optional(told, "warnings", list) else (),
    )


def try_again(host: Host) -> AgentStatus:
    """Have a boot that failed begin anew, for want of space on what the agent keeps for that; how it is then."""
    with suppress(RemoteFailed):  # it goes on for as long as it takes, and the status tells how far it is
        host.run(["sudo", AGENT, "ready"], timeout=AGAIN_SECONDS, check=False)
    return agent_status(host)


def follow(
    host: Host, log: str, say: Callable[[str], None], warn: Callable[[str], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Tell an agent's log as it grows; yields each event, the end line last. `warn` tells what will be lost.

    Raises MachineLost if it breaks off.
    """
    try:
        # Without sudo: its process would sit in the home directory, on the drive, and end with the unmount.
        for line in host.lines([AGENT, "follow", log]):
            event = _event(line)
            if not event.get("end"):
                (warn if warn and event["step"] == LOST else say)(event["text"])
            yield event
            if event.get("end"):
                return
    except (RemoteFailed, Malformed) as error:
        raise MachineLost(f"the agent's log {log} broke off: {error}") from error
    raise MachineLost(f"the agent's log {log} ended too early")


def _event(line: str) -> dict[str, Any]:
    """A line of an agent's log: a step with its text, or the end with its result. Raises Malformed."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not optional(event, "end", bool):
        field(event, "text", str)
        field(event, "step", str)
    elif field(event, "ok", bool):
        field(event, "result", dict)
    told: dict[str, Any] = event
    return told


def final_save(
    connect: Callable[[], Host], say: Callable[[str], None], warn: Callable[[str], None], *, grace: float | None = None
) -> dict[str, Any]:
    """Have the agent stop everything, commit, and unmount for good; its report.

    It runs as a unit on the machine: a connection that drops does it no harm, and is made again. Should we vanish, the
    machine goes on alone: two minutes after the save it takes the snapshot and powers off. Raises
    SaveIncomplete if the agent could not unmount, MachineLost if it does not answer any more.
    """
    save_id = f"save-{secrets.token_hex(4)}"
    argv = ["sudo", AGENT, "save", save_id, "--kind", "final", "--attended"]
    told: set[str] = set()

    def once(text: str, tell: Callable[[str], None]) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    for attempt in range(FOLLOW_ATTEMPTS):
        try:
            with closing(connect()) as host:
                deliver(host)
                # Asked again, a save that is at work or went well is left alone.
                host.run([*argv, "--grace", f"{grace:.0f}"] if grace is not None else argv, timeout=60.0)
                *_, end = follow(host, save_id, partial(once, tell=say), partial(once, tell=warn))
                return _saved(end)
        except MachineGone:
            raise
        except (RemoteFailed, MachineLost) as error:
            if attempt == FOLLOW_ATTEMPTS - 1:
                raise MachineLost(f"the agent does not save: {error}") from error
            say(f"{error}; asking again")
    raise AssertionError("unreachable")


def rehearse_save(host: Host, save_id: str, say: Callable[[str], None], warn: Callable[[str], None]) -> dict[str, Any]:
    """Have the agent save as at a notice and bring everything back; its log's end line. Raises MachineLost."""
    try:
        host.run(["sudo", AGENT, "rehearse", save_id], timeout=60.0)
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not rehearse: {error}") from error
    *_, end = follow(host, save_id, say, warn)
    return end


@contextmanager
def frozen(connect: Callable[[], Host], progress: Progress) -> Iterator[None]:
    """A block during which the agent holds its drives still.

    It thaws them by itself after a while, whatever becomes of us: then it says so. Raises SaveIncomplete if it could
    not freeze them, MachineLost if it does not answer.
    """
    freeze_id = f"freeze-{secrets.token_hex(4)}"
    try:
        with closing(connect()) as host:
            host.run(["sudo", AGENT, "freeze", freeze_id], timeout=60.0)
            events = follow(host, freeze_id, progress.update)
            if not any(event["step"] == "frozen" for event in takewhile(_is_step, events)):
                raise SaveIncomplete("the agent could not freeze the drive", hint="nothing was changed; try again")
            try:
                yield
            finally:
                host.run(["sudo", AGENT, "thaw"], timeout=60.0)
            *_, end = events
    except RemoteFailed as error:
        raise MachineLost(f"the agent does not freeze the drive: {error}") from error
    if not (end["ok"] and optional(end["result"], "in_time", bool)):
        progress.warn("the drive thawed before its snapshot was started: it is as after a power cut")


def _is_step(event: Mapping[str, Any]) -> bool:
    return not event.get("end")


def _saved(end: dict[str, Any]) -> dict[str, Any]:
    if not end["ok"]:
        raise SaveIncomplete(
            f"the agent could not finish the save: {end.get('error')}",
            hint="the drive is still on the machine; run xportal down again",
        )
    result: dict[str, Any] = end["result"]
    return result
