"""Which copy of a drive is the newest (I1). The rules; tests/unit/drive/test_generations.py has a test for each.

Every copy has a generation, a whole number. A launch, an attachment and a choice of the user's (`drives restore`) each
make one that is higher than all before.

1. A snapshot that xportal took is of the generation that its description tells, or its tag if that is higher.
2. A snapshot that nothing tells of was made by hand. It is of the generation of its volume, if anything tells that.
   Else it is one more than all snapshots that were there before it, by StartTime.
3. A volume is of the generation that its tag tells. Without the tag: of what it was made as when the user chose it;
   else of one more than the snapshot that it is made of; else of what its own snapshots tell, or of one more than all.
4. A tag puts a copy before others, and never behind: a volume comes after the snapshot that it is made of, and is not
   behind what its own snapshots were made as.
5. The copy of the highest generation is the newest.
6. Of one generation, a copy that a launch made and nobody confirmed (a stray) counts less than others.
7. Of one generation, a volume is newer than snapshots: it has what was written since.
8. Of one generation, the later snapshot is newer; of one second, a final save is newer than a checkpoint, and what AWS
   could not finish is older than both.
9. Two volumes of the highest generation, or snapshots of two, are a fork: the user has to choose. A copy of a snapshot
   is the same data once more.
10. A snapshot that is the newest is only gone on from if an `up` or a `drives restore` led to it: the copies before it
    say with what the drive went on. Of a snapshot and its volume the volume is asked, while it is there; a volume of
    which there are snapshots was not given up, whatever somebody says who discarded it. Nobody goes on with what is not
    later.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Snapshot, Volume
from xportal.drive.made import described, is_final, was_final


class Copies:
    """The copies of one drive, and their order."""

    volumes: tuple[Volume, ...]
    snapshots: tuple[Snapshot, ...]

    @property
    def copies(self) -> list[Volume | Snapshot]:
        """Everything that holds data of the drive."""
        return [*self.volumes, *self.snapshots]

    def find_copy(self, id_: str) -> Volume | Snapshot | None:
        """The volume or snapshot of that id."""
        return next((item for item in self.copies if item.id == id_), None)

    def newest(self) -> Volume | Snapshot | None:
        """The newest copy of the drive, by rules 5 to 8."""
        return max(self.copies, key=self.order_of, default=None)

    def newest_snapshot(self) -> Snapshot | None:
        """The newest, in whatever state."""
        return max(self.snapshots, key=self.order_of, default=None)

    def next_generation(self) -> int:
        """One more than any that there is."""
        return max(map(self.generation_of, self.copies), default=0) + 1

    def generation_of(self, item: Volume | Snapshot) -> int:
        """By rules 1 to 4. A save of a volume that a tag put behind could not be told from one of an earlier life."""
        if isinstance(item, Snapshot):
            return self._placed[item.id]
        told = _told(item) or self._chosen_as(item)
        source = next((s for s in self.snapshots if s.id == item.snapshot_id), None)
        older = source is not None and item.created < _placed_at(source)  # than the restore of what it is made of
        saved = max((_made_as(s) for s in self.snapshots if s.volume_id == item.id), default=0)
        if told or older or item.snapshot_id is None:
            return max(told, saved, _made_as(source) + 1 if source else 1)
        before = self._placed
        return max(saved, before[source.id] + 1) if source else saved or max(before.values(), default=0) + 1

    def is_stray(self, copy: Volume | Snapshot) -> bool:
        """Whether a launch that nobody confirmed made a volume, and the drive went on without it; or a copy of such.

        Its holder lost the lock: see docs/drive-protocol.md. It is saved like any other, and counts less than others.
        """
        if isinstance(copy, Snapshot):
            return tags.STRAY in copy.tags
        if tags.LAUNCH not in copy.tags or _is_confirmed(copy):
            return False
        generation = self.generation_of(copy)
        others: list[Volume | Snapshot] = [v for v in self.volumes if v.id != copy.id and _is_confirmed(v)]
        others += [s for s in self.snapshots if s.volume_id != copy.id and tags.STRAY not in s.tags]
        return any(self.generation_of(other) >= generation for other in others)

    def forks(self) -> tuple[str, ...]:
        """The ids of volumes that share the newest generation, by rule 9; empty unless there are two or more."""
        newest = self.next_generation() - 1
        origins = {
            i.id if isinstance(i, Volume) else i.volume_id
            for i in self.copies
            if self.generation_of(i) == newest and not self.is_stray(i) and not (isinstance(i, Snapshot) and i.is_copy)
        }
        return tuple(sorted(origins)) if len(origins) > 1 else ()

    def passed_over(self) -> tuple[Snapshot, ...]:
        """Copies with which nobody has gone on, though the newest one claims to be later, the newest of them first.

        Rule 10. Whatever makes a copy newer, a launch, an attachment or a choice, says so on the copies before it. So
        nothing that a user did leads to the newest one: it was made by hand, or forged. Nothing is told by copies that
        an xportal made which did not say so.
        """
        newest = self.newest()
        if not isinstance(newest, Snapshot):  # nobody but the account's users makes volumes
            return ()
        saved = {s.volume_id for s in self.snapshots}  # what was given up, and nobody saved, is all that counts
        passed = (
            s
            for s in self._before(self.generation_of(newest))
            if self._is_unfollowed(s) and not (self.told_by_volume(s) or s.tags.get(tags.FOLLOWED) in saved)
            if s.state != "error"
        )
        return tuple(sorted(passed, key=self.order_of, reverse=True))

    def told_by_volume(self, snapshot: Snapshot) -> str:
        """With what the drive went on after the volume of a snapshot, as the volume tells; "" if it tells nothing.

        Who took the snapshot may have asked the volume long before, and slept: the snapshot then tells of nobody.
        """
        told = (self._told_follower(volume) for volume in self.volumes if volume.id == snapshot.volume_id)
        return next((follower for follower in told if follower != tags.NOBODY), "")

    def to_be_followed(self, generation: int) -> tuple[Snapshot, ...]:
        """Copies before a generation on which it does not stand yet that the drive went on without them, or that it
        went on with something of which nothing is left: who discarded that may say so at any time from now on.
        """
        there = {i.id if isinstance(i, Volume) else i.volume_id for i in self.copies} | {s.id for s in self.snapshots}
        return tuple(
            s
            for s in self._before(generation)
            if self._is_unfollowed(s) or s.tags.get(tags.FOLLOWED, "") not in {"", *there}
        )

    def follower_of(self, volume: Volume) -> str:
        """With what the drive went on after a volume, as its snapshots tell: a copy that somebody chose instead, or a
        later one that was there before it, as when somebody made a volume of an older snapshot by hand.
        """
        generation = self.generation_of(volume)
        before = (s for s in self.snapshots if s.started <= volume.created and self.generation_of(s) > generation)
        later = next(before, None)
        return self._told_follower(volume) or (later.id if later else tags.NOBODY)

    def order_of(self, item: Volume | Snapshot) -> tuple[int, bool, bool, datetime, bool, int]:
        """What copies are compared by, by rules 5 to 8: the newest has the highest."""
        made = item.created if isinstance(item, Volume) else item.started
        # StartTimes may be told to the second: a final save comes after every checkpoint, one that failed before both;
        # also one that is a checkpoint by now, for its volume was attached once more: then its next one comes last.
        final = was_final(item) + is_final(item) if isinstance(item, Snapshot) else 0
        stray = self.is_stray(item)
        return self.generation_of(item), not stray, isinstance(item, Volume), made, item.state != "error", final

    @cached_property
    def _placed(self) -> dict[str, int]:
        """Each snapshot's generation. Those of a volume that nobody tagged are one generation, and what a restored
        snapshot was before tells that of its volume. One that nothing tells of follows those that were there before
        it: a restored one counts as of the moment when it was chosen.
        """
        volumes = {s.volume_id: told for s in self.snapshots if (told := _made_as(s) or _told(s))}
        volumes |= {v.id: told for v in self.volumes if (told := _told(v))}
        placed: dict[str, int] = {}
        for snapshot in sorted(self.snapshots, key=_placed_at):
            newest = max(placed.values(), default=0)
            told = max(_told(snapshot), _made_as(snapshot))
            placed[snapshot.id] = told or volumes.setdefault(snapshot.volume_id, newest + 1)
        return placed

    def _chosen_as(self, volume: Volume) -> int:
        """When the user chose a volume tells its generation, should the tag be gone; 0 if nobody chose it."""
        moment = _restored_at(volume)
        before = self._placed if moment else {}
        return max((before[s.id] for s in self.snapshots if moment and _placed_at(s) < moment), default=-1) + 1

    def _told_follower(self, item: Volume | Snapshot) -> str:
        """What the tag names, or "" without one. Nobody has gone on with what is not later: whoever wrote that died in
        the middle of a choice.
        """
        named = item.tags.get(tags.FOLLOWED, "")
        follower = self.find_copy(named)
        is_later = follower is None or self.generation_of(follower) > self.generation_of(item)
        return named if is_later else tags.NOBODY

    def _is_unfollowed(self, snapshot: Snapshot) -> bool:
        """Whether nobody has gone on from a copy, or has discarded what came of it."""
        follower = self._told_follower(snapshot)
        return follower == tags.NOBODY or (bool(follower) and follower == snapshot.tags.get(tags.GIVEN_UP))

    def _before(self, generation: int) -> list[Snapshot]:
        return [s for s in self.snapshots if not self.is_stray(s) and self.generation_of(s) < generation]


def restored_text(before: int, moment: datetime) -> str:
    """What the tag of a copy that the user chose tells: the generation that it was, and when that was."""
    return f"{before} {moment.isoformat()}"


def restored_from(item: Volume | Snapshot) -> int:
    """The generation that a restored copy was before; 0 if it is none."""
    return foreign.whole(item.tags.get(tags.RESTORED, "").partition(" ")[0]) or 0


def _restored_at(item: Volume | Snapshot) -> datetime | None:
    return foreign.moment(item.tags.get(tags.RESTORED, "").partition(" ")[2])


def _placed_at(snapshot: Snapshot) -> datetime:
    return _restored_at(snapshot) or snapshot.started


def _made_as(snapshot: Snapshot) -> int:
    """The generation that a snapshot had at first, whatever was put on it since; 0 if nothing tells."""
    made = described(snapshot)
    return made.generation if made else restored_from(snapshot)


def _told(item: Volume | Snapshot) -> int:
    """The generation that the tag tells; 0 if it tells none."""
    return foreign.whole(item.tags.get(tags.GENERATION, "")) or 0


def _is_confirmed(volume: Volume) -> bool:
    """Whether an `up` said, after it had looked at its lock, that a launch's volume is the drive's (I5)."""
    return tags.GENERATION in volume.tags or tags.NAME in volume.tags
