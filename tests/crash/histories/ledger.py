"""What must be on a drive, kept by the test itself from what happened: nothing here asks the package under test.

Every disk and snapshot ever made is a `Copy` with the records that are on it. `place` orders them: a volume made by a
launch is newer than all before it, its snapshots come right before it, a restored copy comes after all. The records
that were acknowledged (flushed to the disk) must be on the newest copy, in order, whatever happens.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

RECORD = 64  # bytes
Place = tuple[int, int, int]


class Violation(AssertionError):
    """An invariant of the drive protocol does not hold."""


@dataclass
class Copy:
    """A volume or a snapshot: what is on it, and how new it is."""

    id: str
    records: list[str]
    place: Place
    parent: str | None
    life: int = 0  # how often a volume was attached anew or chosen; of a snapshot, in which of these it was made
    failed: bool = False  # a snapshot in state `error`
    deleted: bool = False  # by hand, and not yet gone
    before: Place | None = None  # it was chosen: its place until then
    attachments: int = 0  # how often a volume was put into a machine that was launched without it
    rolling: bool = False  # a checkpoint that a machine takes by itself, and that goes after a final save
    marked: int | None = None  # how many records it had when it was marked
    disowned: bool = False  # made by hand, and the only tag that told whose it is was deleted

    @property
    def is_volume(self) -> bool:
        """Or else a snapshot."""
        return self.id.startswith("vol-")


@dataclass
class Ledger:
    """One drive's copies, and what was acknowledged."""

    copies: dict[str, Copy] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    unflushed: dict[str, list[str]] = field(default_factory=dict)  # volume id: what its machine has not written yet
    unmounted: set[str] = field(default_factory=set)  # ids of volumes that the agent let go of for good
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def volume_made(self, volume_id: str, snapshot_id: str | None) -> None:
        """A launch restored a snapshot, or began blank."""
        source = self.copies.get(snapshot_id or "")
        records = list(source.records) if source else []
        self.copies[volume_id] = Copy(volume_id, records, (next(self._order), 1, 0), snapshot_id)

    def snapshot_made(self, snapshot_id: str, volume_id: str) -> None:
        """Of what is on the disk at this moment."""
        volume = self.copies[volume_id]
        place = (volume.place[0], 0, next(self._order))
        self.copies[snapshot_id] = Copy(snapshot_id, list(volume.records), place, volume_id, volume.life)

    def attached(self, volume_id: str) -> None:
        """A volume that outlived its machine is on another one: a new life of the same copy."""
        volume = self.copies[volume_id]
        volume.place = (next(self._order), 1, 0)
        volume.life += 1
        volume.attachments += 1
        self.unmounted.discard(volume_id)

    def gone(self, copy_id: str) -> None:
        """A copy was deleted."""
        self.copies.pop(copy_id, None)
        self.unflushed.pop(copy_id, None)

    def restored(self, copy_id: str) -> None:
        """The user chose this copy to go on from."""
        copy = self.copies[copy_id]
        copy.before = copy.before or copy.place
        copy.place = (next(self._order), int(copy.is_volume), 0)
        copy.life += copy.is_volume  # a snapshot is what it was: it saved the life of its volume in which it was made
        self.acknowledged = list(copy.records)

    def unchosen(self, copy_id: str) -> None:
        """The tag that put a chosen snapshot before the others was deleted: it is as new as it was made."""
        copy = self.copies[copy_id]
        if copy.before and not copy.is_volume:  # a volume may have been written to: when it was chosen still tells
            copy.place = copy.before
            self.settle_for_newest()

    def taken_back(self, copy_id: str) -> None:
        """The command that chose a copy says that it did not."""
        copy = self.copies[copy_id]
        copy.place, copy.before = copy.before or copy.place, None
        self.settle_for_newest()

    def newest(self) -> Copy | None:
        """The copy that the next life must begin with."""
        return max(self.counted(), key=lambda c: c.place, default=None)

    def counted(self) -> list[Copy]:
        """The copies that a drive can go on from."""
        return [c for c in self.copies.values() if not (c.failed or c.deleted or c.disowned)]

    def disown(self, copy_id: str) -> None:
        """The user says that it is the drive's no more."""
        self.copies[copy_id].disowned = True
        self.settle_for_newest()

    def settle_for_newest(self) -> None:
        """The user destroyed data by hand: what is left counts."""
        newest = self.newest()
        self.acknowledged = list(newest.records) if newest else []

    def write(self, volume_id: str, record: str) -> None:
        """A program on the machine wrote a record; it is not on the disk yet."""
        if self.copies[volume_id] is not self.newest():
            raise Violation(f"I3: {volume_id} is written to, and is not the newest copy")
        self.unflushed.setdefault(volume_id, []).append(record)

    def flush(self, volume_id: str) -> list[str]:
        """All that was written is on the disk now, and so acknowledged; the records that are new there."""
        records = self.unflushed.pop(volume_id, [])
        self.copies[volume_id].records += records
        self.acknowledged += records
        return records

    def lose_unflushed(self, volume_id: str) -> None:
        """The power went."""
        self.unflushed.pop(volume_id, None)

    # What must hold

    def check_newest(self) -> None:
        """I1, I2: nothing acknowledged is lost."""
        newest = self.newest()
        if self.acknowledged != (newest.records if newest else []):
            raise Violation(f"acknowledged {self.acknowledged}, but the newest copy is {newest}")

    def check_deletion(self, copy_id: str, completed: set[str]) -> None:
        """I2: a volume has a complete successor with all that is on it; so has a rolling checkpoint that nobody chose,
        and other snapshots are never deleted.
        """
        copy = self.copies.get(copy_id)
        if copy is None:
            raise Violation(f"I2: {copy_id} is deleted and is no drive")
        if not copy.is_volume and (not copy.rolling or copy.before):
            raise Violation(f"I2: the snapshot {copy_id} is deleted")
        if self.unflushed.get(copy_id):
            raise Violation(f"I2: {copy_id} is deleted with work under way")
        size = len(copy.records)
        disowned = {c.id for c in self.copies.values() if c.disowned}
        stay = completed - disowned - {copy_id}
        kept = [c for c in self.copies.values() if c.id in stay and c.records[:size] == copy.records]
        if copy.records and not kept:
            raise Violation(f"I2: {copy_id} is deleted, and no complete snapshot has what is on it: {copy.records}")

    def check_blank(self) -> None:
        """I4: a drive is made anew only where there was none."""
        if self.acknowledged:
            raise Violation(f"I4: a blank drive is launched, but there is data: {self.acknowledged}")


def read_records(path: Path) -> list[str]:
    """The records in a disk's bytes, in order."""
    records = []
    with path.open("rb") as disk:
        while block := disk.read(RECORD).rstrip(b"\0"):
            records.append(block.decode())
    return records


def append_records(path: Path, records: list[str]) -> None:
    """Write to a disk's bytes, after what is there."""
    there = len(read_records(path))
    with path.open("r+b") as disk:
        disk.seek(there * RECORD)
        disk.write(b"".join(record.encode().ljust(RECORD, b"\0") for record in records))
