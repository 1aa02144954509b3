"""What a portal was at its last `up`, as text for AWS's tags and as words of the command line. Pure.

Tags are foreign words: whoever may tag can write there. So what is read is checked like a command line, and of the
command that runs at a notice it is only shown: what runs is the drive's own.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from xportal import foreign
from xportal.aws.tags import REMEMBERED, REMEMBERED_TAGS_MAX
from xportal.errors import UsageError
from xportal.spec import DriveSpec, Followed, MachineSpec, PortalSpec, UnattendedSpec

VALUE_MAX = 256  # EC2's limit on a tag's value
NOTICE_SHOWN = 100  # characters of the command that runs at a notice
_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


@dataclass(frozen=True)
class LastTime:
    """The options of an `up` that the next one goes by. None and empty: not told. Sizes in GiB."""

    portal: str
    at: datetime  # by AWS's clock: of several, the latest counts
    drives: tuple[str, ...]
    gpu: bool | None = None
    types: tuple[str, ...] = ()
    min_gpu_memory_gib: float | None = None
    architecture: str | None = None
    on_notice: str | None = None  # its beginning, to be shown
    idle_minutes: float | None = None
    checkpoint_on_rebalance: bool | None = None
    checkpoint_minutes: float | None = None
    follows: Followed | None = None

    def words(self) -> str:
        """The options that ask for the same; "" if none is needed."""
        words: list[str] = []
        if self.drives != (self.portal,):
            words += [word for name in self.drives for word in ("--drive", name)]
        words += [] if self.gpu is None else ["--gpu" if self.gpu else "--cpu"]
        words += [word for name in self.types for word in ("--type", name)]
        for option, value in (
            ("--min-gpu-memory", self.min_gpu_memory_gib),
            ("--architecture", self.architecture),
            ("--on-notice", self.on_notice),
            ("--idle-minutes", self.idle_minutes),
            ("--checkpoint-every", self.checkpoint_minutes),
        ):
            words += [option, f"{value:g}" if isinstance(value, float) else value] if value else []
        words += ["--checkpoint-on-rebalance"] if self.checkpoint_on_rebalance else []
        return shlex.join(words)


def asked_as(spec: PortalSpec, at: datetime, before: LastTime | None) -> LastTime:
    """What is to be remembered of an `up` with this whole spec; what it does not say of a notice stays as before."""
    notice = spec.alone.on_notice
    return LastTime(
        portal=spec.name,
        at=at.replace(microsecond=0),
        drives=tuple(drive.name for drive in spec.drives) or (spec.name,),
        gpu=spec.machine.gpu,
        types=spec.machine.types,
        min_gpu_memory_gib=spec.machine.min_gpu_memory_gib,
        architecture=spec.machine.architecture,
        on_notice=_shown(notice) if notice is not None else before.on_notice if before else None,
        idle_minutes=spec.alone.idle_minutes,
        checkpoint_on_rebalance=spec.alone.checkpoint_on_rebalance,
        checkpoint_minutes=spec.alone.checkpoint_minutes,
        follows=spec.follows,
    )


def completed(asked: PortalSpec, before: LastTime) -> PortalSpec:
    """The spec with what it leaves open as last time. Each option that is given wins; of those that choose the machine
    (GPU or CPU, types, GPU memory) one that is given replaces all. A spec's file leaves nothing open but the drives.
    Without a file, market and price are those of the file that the portal follows; its image is not:
    whoever may tag could choose what boots. Raises UsageError.
    """
    if asked.file:
        return with_drives(asked, before.drives)
    machine = asked.machine
    if machine.gpu is None and not machine.types and machine.min_gpu_memory_gib is None:
        machine = replace(machine, gpu=before.gpu, types=before.types, min_gpu_memory_gib=before.min_gpu_memory_gib)
    if machine.architecture is None and not asked.drives:
        machine = replace(machine, architecture=before.architecture)
    alone = UnattendedSpec(
        on_notice=asked.alone.on_notice,  # what runs is the drive's own, not a tag's
        idle_minutes=_first(asked.alone.idle_minutes, before.idle_minutes),
        checkpoint_on_rebalance=_first(asked.alone.checkpoint_on_rebalance, before.checkpoint_on_rebalance),
        checkpoint_minutes=_first(asked.alone.checkpoint_minutes, before.checkpoint_minutes),
    )
    machine = _as_followed(machine, before.follows) if before.follows else machine
    return replace(with_drives(asked, before.drives), machine=machine, alone=alone, follows=before.follows)


def _as_followed(machine: MachineSpec, follows: Followed) -> MachineSpec:
    """The machine with what only a file has remembered: a market excludes the other one's price."""
    if machine.on_demand is None and machine.max_price is None:
        machine = replace(machine, on_demand=follows.on_demand, max_price=follows.max_price)
    elif machine.on_demand is False and machine.max_price is None:
        machine = replace(machine, max_price=follows.max_price)
    return machine


def with_drives(asked: PortalSpec, names: tuple[str, ...]) -> PortalSpec:
    """The spec with these drives unless it names its own. Raises UsageError if a size is not clear whose it is."""
    if asked.drives or not names:
        return asked
    if asked.size_gib is not None and len(names) > 1:
        raise UsageError(
            f'--size is of one drive, and portal "{asked.name}" has {", ".join(names)}',
            hint="--drive NAME:GIB, for each of them",
        )
    return replace(asked, drives=tuple(DriveSpec(name, asked.size_gib) for name in names), size_gib=None)


def to_tags(last: LastTime) -> dict[str, str]:
    """The tags that say so: JSON in parts of a tag's length. Raises UsageError if it is too long."""
    told = {
        "portal": last.portal,
        "at": last.at.isoformat(),
        "drives": last.drives,
        "gpu": last.gpu,
        "types": last.types or None,
        "gpu_memory": last.min_gpu_memory_gib,
        "architecture": last.architecture,
        "idle": last.idle_minutes,
        "every": last.checkpoint_minutes,
        "rebalance": last.checkpoint_on_rebalance,
        "on_notice": last.on_notice,
        "spec": _without_none(asdict(last.follows)) if last.follows else None,
    }
    text = json.dumps(_without_none(told), separators=(",", ":"))
    if len(text) > VALUE_MAX * REMEMBERED_TAGS_MAX:
        raise UsageError("these options are too long to be remembered", hint="fewer --type")
    return {_key(n): text[n * VALUE_MAX : (n + 1) * VALUE_MAX] for n in range(math.ceil(len(text) / VALUE_MAX))}


def from_tags(told: Mapping[str, str], portal: str) -> LastTime | None:
    """What tags say of a portal; None if they say nothing of it. Raises ValueError if they make no sense.

    Parts that are left of a longer text are passed over, and so are words of a newer xportal.
    """
    text = "".join(told.get(_key(n), "") for n in range(REMEMBERED_TAGS_MAX))
    if not text:
        return None
    try:
        raw, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")
    if raw.get("portal") != portal:
        return None
    return _checked(raw, portal)


def beginning(portal: str) -> str:
    """How the text of a portal begins, which tells it from those of others."""
    return f'{{"portal":{json.dumps(portal)},'


def _key(number: int) -> str:
    return REMEMBERED if number == 0 else f"{REMEMBERED}.{number + 1}"


def _checked(raw: Mapping[str, Any], portal: str) -> LastTime:
    """Like a command line: its own checks are asked for each word."""
    last = LastTime(
        portal=portal,
        at=_told(raw, "at", _moment, needed=True),
        drives=_told(raw, "drives", _names, needed=True),
        gpu=_told(raw, "gpu", _flag),
        types=_told(raw, "types", _types) or (),
        min_gpu_memory_gib=_told(raw, "gpu_memory", _number),
        architecture=_told(raw, "architecture", _word),
        on_notice=_told(raw, "on_notice", _line),
        idle_minutes=_told(raw, "idle", _number),
        checkpoint_on_rebalance=_told(raw, "rebalance", _flag),
        checkpoint_minutes=_told(raw, "every", _number),
        follows=_told(raw, "spec", _followed),
    )
    try:
        completed(PortalSpec(portal), last)
    except UsageError as error:
        raise ValueError(error.message) from error
    return last


def _told(raw: Mapping[str, Any], key: str, read: Callable[[Any], Any], *, needed: bool = False) -> Any:
    if raw.get(key) is None and not needed:
        return None
    try:
        return read(raw.get(key))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its {key} makes no sense") from error


def _followed(value: Any) -> Followed:
    """PortalSpec checks what is for the next machine."""
    if not isinstance(value, dict):
        raise TypeError
    limits = {key: _told(value, key, _number) for key in ("budget", "max_hours", "end_price")}
    if any(limit is not None and not 0 < limit < math.inf for limit in limits.values()):
        raise ValueError
    return Followed(
        file=_told(value, "file", _line, needed=True),
        digest=_told(value, "digest", _line, needed=True),
        on_demand=_told(value, "on_demand", _flag),
        max_price=_told(value, "max_price", _number),
        image_id=_told(value, "image_id", _line),
        wait_capacity=_told(value, "wait_capacity", _flag) or False,
        **limits,
    )


def _moment(value: Any) -> datetime:
    moment = foreign.moment(_word(value))
    if moment is None:
        raise ValueError
    return moment


def _names(value: Any) -> tuple[str, ...]:
    """PortalSpec checks each name, and how many there are."""
    if not isinstance(value, list) or not value:
        raise TypeError
    return tuple(map(_word, value))


def _types(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(_TYPE.fullmatch(_word(name)) for name in value):
        raise TypeError
    return tuple(value)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _line(value: Any) -> str:
    if len(_word(value)) > NOTICE_SHOWN or value != _shown(value):
        raise ValueError
    return _word(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _shown(command: str) -> str:
    """As much of a command as is shown: one line, without control characters."""
    line = "".join(c if c.isprintable() else " " for c in command)
    return line if len(line) <= NOTICE_SHOWN else line[: NOTICE_SHOWN - 3] + "..."


def _without_none(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}


def _first(asked: Any, before: Any) -> Any:
    return before if asked is None else asked
