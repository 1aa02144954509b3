"""Snapshots that the machine takes of its own drives: nobody else may be there to do it."""

from __future__ import annotations

import platform
from typing import Any, Callable, Dict, Optional, Sequence

from ..core.config import AgentConfig, Paths
from ..core.events import Log
from ..core.imds import Imds
from ..core.process import AgentError, told_to_end
from .ec2 import Ec2
from .proofs import find_proof
from .remember import remembered

FIRST_WAIT = 1.0
LONGEST_WAIT = 15.0
ROLE_PAUSES = (2.0, 4.0)
ROLLING = "rolling"  # a checkpoint that goes once a later final save is complete; its description says so, too
ARCHITECTURES = {"aarch64": "arm64"}


def plan_tags(
    config: AgentConfig, drive: Dict[str, Any], save: str, kind: str, paths: Paths = Paths()
) -> Dict[str, str]:
    """As on the snapshots that the command line takes: see docs/drive-protocol.md."""
    machine = platform.machine()
    proof = find_proof(paths, drive["name"]) if kind == "final" else ""  # before that it would permit a forged one
    return {
        **remembered(paths),
        "Name": drive["name"],
        "xportal": "1",
        "xportal:drive": drive["name"],
        "xportal:generation": str(drive["generation"]),
        **({"xportal:kind": "checkpoint", "xportal:rolling": "1"} if kind == ROLLING else {"xportal:kind": kind}),
        "xportal:save": save,
        "xportal:launch": config.launch,
        "xportal:architecture": ARCHITECTURES.get(machine, machine),
        "xportal:followed-by": "nobody",
        **({"xportal:proof": proof} if proof else {}),
        **({"xportal:set": save} if len(config.drives) > 1 else {}),
    }


def take_snapshots(
    config: AgentConfig,
    drives: Sequence[Dict[str, Any]],
    save: str,
    kind: str,
    log: Log,
    left: Callable[[], float],
    imds: Optional[Imds] = None,
    paths: Paths = Paths(),
) -> Dict[str, str]:
    """A snapshot of each unmounted drive, tried again while there are seconds `left`. Returns {drive: id}.

    Drives that did not get theirs are left to the next `up` or `sweep`: their volumes keep everything.
    """
    ec2 = Ec2(imds or Imds(), config.endpoint, config.region)
    done: Dict[str, str] = {}
    wait = FIRST_WAIT
    while True:
        for drive in drives:
            name = drive["name"]
            if name not in done:
                try:
                    done[name] = take_snapshot(ec2, drive, plan_tags(config, drive, save, kind, paths))
                    log.say("snapshot", f"Snapshot {done[name]} of drive {name} has begun")
                except (AgentError, ValueError, LookupError) as failure:  # answers that make no sense, too
                    log.say("snapshot", f"Drive {name} has no snapshot yet: {failure}")
        if len(done) == len(drives) or left() < wait or told_to_end(wait):
            return done
        wait = min(wait * 2, LONGEST_WAIT)


def is_any_pending(config: AgentConfig, drives: Sequence[Dict[str, Any]], imds: Optional[Imds] = None) -> bool:
    """Whether AWS still works on a snapshot of one of these drives: it takes five at a time of a volume, and no more.

    Raises `AgentError` if it does not say.
    """
    ec2 = Ec2(imds or Imds(), config.endpoint, config.region)
    return any(ec2.has_pending(drive["volume_id"]) for drive in drives)


def try_role(config: AgentConfig, imds: Optional[Imds] = None) -> str:
    """Why this machine could take no snapshot by itself, as far as one question tells; nothing if it could.

    At a notice it would be too late to learn that. What is new may take AWS some seconds, and is asked again.
    """
    ec2 = Ec2(imds or Imds(), config.endpoint, config.region)
    why = ""
    for pause in (0.0, *ROLE_PAUSES):
        if pause and told_to_end(pause):
            break
        try:
            ec2.try_one_question()
            return ""
        except (AgentError, ValueError, LookupError) as failure:
            why = str(failure)
    return why


def take_snapshot(ec2: Ec2, drive: Dict[str, Any], tags: Dict[str, str]) -> str:
    """Start a snapshot of a drive, or find the one whose answer was lost: CreateSnapshot has no ClientToken."""
    # A machine makes one final save of a drive and no more; one without its proof is not its own.
    final = tags["xportal:kind"] == "final"
    known = ("xportal:launch", "xportal:kind", "xportal:proof") if final else ("xportal:save",)
    found = ec2.find_snapshot(drive["volume_id"], {key: tags[key] for key in known if key in tags})
    kind = ROLLING if "xportal:rolling" in tags else tags["xportal:kind"]
    words = f"xportal drive {drive['name']}, generation {drive['generation']}, {kind}"
    return found or ec2.create_snapshot(drive["volume_id"], words, tags)
