"""What snapshots were made as: xportal writes it into their description, which nobody can edit, beside their tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Snapshot

DESCRIBED = "xportal drive"
_DESCRIPTION = re.compile(rf"{DESCRIBED} (?P<drives>\S+), generation (?P<generations>\S+), (?P<kind>[a-z]+)")


@dataclass(frozen=True)
class Description:
    """What snapshots of ours tell where nobody can edit it: the generation of each drive, and the kind."""

    drives: Mapping[str, int]
    kind: str

    def __str__(self) -> str:
        generations = ",".join(map(str, self.drives.values()))
        return f"{DESCRIBED} {','.join(self.drives)}, generation {generations}, {self.kind}"


@dataclass(frozen=True)
class Made:
    """What one snapshot was made as."""

    drive: str
    generation: int
    kind: str


def described(snapshot: Snapshot) -> Made | None:
    """What a snapshot was made as; None if it is not ours, or does not tell which of several drives it is."""
    return _read(snapshot.description, snapshot.tags.get(tags.DRIVE) or snapshot.tags.get(tags.NAME))


@lru_cache(maxsize=4096)  # each question about a drive asks the same of the same snapshots again
def _read(description: str, told: str | None) -> Made | None:
    """The same; `told` is the drive's name by the snapshot's tags."""
    found = _DESCRIPTION.fullmatch(description)
    if found is None:
        return None
    names = [foreign.name(word) for word in found["drives"].split(",")]
    generations = [foreign.whole(word) for word in found["generations"].split(",")]
    drives = {name: number for name, number in zip(names, generations, strict=False) if name and number is not None}
    if len(names) != len(generations) or len(drives) < len(names):  # edited copies of it are not ours
        return None
    drive = next(iter(drives)) if len(drives) == 1 else told
    return Made(drive, drives[drive], found["kind"]) if drive and drive in drives else None


def is_final(snapshot: Snapshot) -> bool:
    """It permits a deletion, so its tag and what it was made as must both say so."""
    return snapshot.tags.get(tags.KIND) == tags.FINAL and was_final(snapshot)


def was_final(snapshot: Snapshot) -> bool:
    """Whether it was made as a final save, whatever its tag says by now."""
    made = described(snapshot)
    return made is not None and made.kind == tags.FINAL


def is_rolling(snapshot: Snapshot) -> bool:
    """It is deleted without being asked for, so what it was made as and its tag must both say so; nobody chose it."""
    made = described(snapshot)
    chosen = tags.RESTORED in snapshot.tags
    return made is not None and made.kind == tags.ROLLED and snapshot.tags.get(tags.ROLLING) == "1" and not chosen
