"""A drive as AWS shows it: pure questions over one observation. Order of a drive's data: invariant I1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from xportal import foreign
from xportal.agent.full.proofs import seal_of
from xportal.aws import tags
from xportal.aws.devices import device_of
from xportal.aws.records import NO_CAPACITY, Instance, KeyPair, Snapshot, Volume

LOCK_PREFIX = "xportal-"
HEARTBEAT_LIMIT = timedelta(minutes=10)
DESCRIBED = "xportal drive"
_DESCRIPTION = re.compile(rf"{DESCRIBED} (?P<drives>\S+), generation (?P<generations>\S+), (?P<kind>[a-z]+)")

LIVE = ("pending", "running")
ENDING = ("shutting-down", "stopping")


class LockState(Enum):
    """What the lock of a drive says."""

    FREE = "free"
    MINE = "mine"
    HELD = "held"  # its machine lives
    STARTING = "starting"  # no machine yet, its heartbeat is fresh
    STALE = "stale"  # its machine is gone, or it never got one
    STRANGE = "strange"  # a key pair of the lock's name that is not ours


@dataclass(frozen=True)
class Drive:
    """Everything AWS tells of one drive at one moment; `now` is AWS's time."""

    name: str
    now: datetime
    lock: KeyPair | None = None
    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    machines: Mapping[str, Instance] = field(default_factory=dict)

    @property
    def copies(self) -> list[Volume | Snapshot]:
        """Everything that holds data of the drive."""
        return [*self.volumes, *self.snapshots]

    def machine_of(self, volume: Volume) -> Instance | None:
        """The machine that a volume is attached to, unless it is terminated."""
        machine = self.machines.get(volume.instance_id or "")
        return machine if machine and machine.state != "terminated" else None

    def is_foreign(self, machine: Instance) -> bool:
        """Whether somebody attached the drive to a machine that is not the drive's."""
        return self.name not in tags.drive_names(machine.tags)

    def is_untagged(self, volume: Volume) -> bool:
        """Whether a volume of the drive lost the tag by which it is found once it is detached."""
        return volume.tags.get(tags.DRIVE) != self.name

    def is_saved(self, machine: Instance) -> bool:
        """Whether the drive's final save on this machine has begun: it can never be used there again."""
        return any(self.is_final_started(v) for v in self.volumes if v.instance_id == machine.id)

    def is_spent(self, machine: Instance) -> bool:
        """Whether the drive never goes on being used on this machine: its final save has begun, or something is marked,
        or the drive has gone on without this copy.
        """
        there = [v for v in self.volumes if v.instance_id == machine.id]
        marked = tags.MARKED in machine.tags or any(tags.MARKED in v.tags for v in there)
        return marked or self.is_saved(machine) or any(map(self.is_stray, there))

    def live_machine(self) -> Instance | None:
        """The machine that the drive is awake on, or is being brought up on. Of several the one that can go on."""
        live = [m for m in self.machines.values() if m.state in LIVE and not self.is_foreign(m)]
        return max(live, key=lambda m: (self.is_on(m), not self.is_spent(m), m.launched), default=None)

    def is_on(self, machine: Instance) -> bool:
        """Whether the drive is attached to this machine."""
        return any(v.instance_id == machine.id for v in self.volumes)

    def has_lost(self, machine: Instance) -> bool:
        """Whether a machine that runs has nothing at the drive's place: somebody took it off."""
        return (
            machine.state == "running"
            and device_of(machine, self.name) not in machine.disks
            and not self.is_on(machine)
        )

    def attachable(self) -> Volume | None:
        """The drive's only volume, if it is the newest data and can be attached to a machine of its zone as it is."""
        newest = self.newest()
        if len(self.volumes) != 1 or newest not in self.volumes or self.forks():
            return None
        [volume] = self.volumes
        ready = volume.state == "available" and not self.is_untagged(volume)
        return volume if ready and not self.is_condemned(volume) else None

    def is_condemned(self, volume: Volume) -> bool:
        """Whether somebody may have decided to delete a volume, however long ago: it never lives again (I11).

        It is marked, or it has a complete final save. While that is pending nobody has relied on it.
        """
        return tags.MARKED in volume.tags or any(s.state != "pending" for s in self.unsettled_finals(volume))

    def is_going(self, copy: Volume | Snapshot) -> bool:
        """Whether a copy is deleted, or will be: nobody goes on from it by choice. A volume's final save is there."""
        if isinstance(copy, Snapshot):
            return tags.MARKED in copy.tags
        return self.is_condemned(copy) or self.is_final_started(copy)

    def there(self) -> frozenset[str]:
        """The machines, the lock and the life of the newest copy, for who wants to know later what came after them."""
        newest = self.newest()
        life = {self.life_of(newest)} if isinstance(newest, Volume) else set[str]()
        return frozenset({*self.machines, *life, *({self.lock.id} if self.lock else ())})

    def life_of(self, volume: Volume) -> str:
        """Names a volume from one launch, attachment or choice to the next."""
        return f"{volume.id} as generation {self.generation_of(volume)} on {volume.tags.get(tags.LAUNCH)}"

    def unsettled_finals(self, volume: Volume) -> tuple[Snapshot, ...]:
        """The final saves of a volume, of whatever life, that were not taken back for good. One in error permits
        nothing, and never will.
        """
        own = (s for s in self.snapshots if s.volume_id == volume.id and _was_final(s) and s.state != "error")
        return tuple(s for s in own if s.tags.get(tags.KIND) != tags.CHECKPOINT)

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

    def awaiting(self) -> Instance | None:
        """A live machine that was launched for a volume, and does not have it yet."""
        machine = self.live_machine()
        return machine if machine and tags.AWAITS in machine.tags and not self.is_on(machine) else None

    def awaited_generation(self, machine: Instance) -> int:
        """The generation that the drive will be on a machine that awaits it; 0 if nothing tells."""
        place = tags.drive_places(machine.tags).get(self.name)
        told = machine.tags.get(tags.AWAITS, "").split(",")
        return (foreign.whole(told[place]) or 0) if place is not None and place < len(told) else 0

    def generation_of(self, item: Volume | Snapshot) -> int:
        """The tag; else, for a volume, when it was chosen, or one more than its snapshot's; else, for a snapshot, its
        volume's; else its place among the others by StartTime: it follows those that are older.

        A tag can put an item before others, and never behind what it was made as, or made of, nor a volume behind
        what its snapshots were made as: a save of it could not be told from one of an earlier life.
        """
        if isinstance(item, Snapshot):
            return self._placed()[item.id]
        told = _told(item) or self._chosen_as(item)
        source = next((s for s in self.snapshots if s.id == item.snapshot_id), None)
        older = source is not None and item.created < _placed_at(source)  # than the restore of what it is made of
        saved = max((_made_as(s) for s in self.snapshots if s.volume_id == item.id), default=0)
        if told or older or item.snapshot_id is None:
            return max(told, saved, _made_as(source) + 1 if source else 1)
        before = self._placed()
        return max(saved, before[source.id] + 1) if source else saved or max(before.values(), default=0) + 1

    def _chosen_as(self, volume: Volume) -> int:
        """When the user chose a volume tells its generation, should the tag be gone; 0 if nobody chose it."""
        moment = _restored_at(volume)
        before = self._placed() if moment else {}
        return max((before[s.id] for s in self.snapshots if moment and _placed_at(s) < moment), default=-1) + 1

    def newest(self) -> Volume | Snapshot | None:
        """The newest copy of the drive: generation, then volume before snapshot, then StartTime (I1)."""
        return max(self.copies, key=self._order, default=None)

    def _order(self, item: Volume | Snapshot) -> tuple[int, bool, bool, datetime, bool, int]:
        made = item.created if isinstance(item, Volume) else item.started
        # StartTimes may be told to the second: a final save comes after every checkpoint, one that failed before both;
        # also one that is a checkpoint by now, for its volume was attached once more: then its next one comes last.
        final = _was_final(item) + _is_final(item) if isinstance(item, Snapshot) else 0
        stray = self.is_stray(item)
        return self.generation_of(item), not stray, isinstance(item, Volume), made, item.state != "error", final

    def next_generation(self) -> int:
        """One more than any that there is."""
        return max(map(self.generation_of, self.copies), default=0) + 1

    def find_copy(self, id_: str) -> Volume | Snapshot | None:
        """The volume or snapshot of that id."""
        return next((item for item in self.copies if item.id == id_), None)

    def newest_snapshot(self) -> Snapshot | None:
        """The newest, in whatever state."""
        return max(self.snapshots, key=self._order, default=None)

    def final_of(self, volume: Volume) -> Snapshot | None:
        """The newest snapshot of this very volume made after its last unmount; a failed one if there is no other.

        One that proves nothing may have been made by anybody, and before the unmount: it does not count.
        """
        generation = self.generation_of(volume)  # it is raised when the volume is chosen: then it is saved again
        finals = [
            s
            for s in self.snapshots
            if s.volume_id == volume.id
            and _is_final(s)
            and self.generation_of(s) >= generation
            and s.tags.get(tags.LAUNCH) == volume.tags.get(tags.LAUNCH)
            and self._is_proven(s, volume)
        ]
        return max(finals, key=lambda s: (s.state != "error", s.started), default=None)

    def _is_proven(self, snapshot: Snapshot, volume: Volume) -> bool:
        """Whether it shows what only the volume's own machine could know, or the command that saw the unmount."""
        proof = snapshot.tags.get(tags.PROOF)
        seals = [*volume.tags.get(tags.SEAL, "").split(","), volume.tags.get(tags.UNMOUNTED, "")]
        return bool(proof) and seal_of(proof or "", self.name) in seals

    def is_final_started(self, volume: Volume) -> bool:
        """Whether a final snapshot of the volume is there, or on its way."""
        final = self.final_of(volume)
        return final is not None and final.state != "error"

    def superseded(self) -> tuple[Snapshot, ...]:
        """Rolling checkpoints that a later final save of the same volume, which is complete, made needless.

        Of no other volume: one that somebody deleted may have left no more than its checkpoints.
        """
        sources = {v.snapshot_id for v in self.volumes}
        rolling = [s for s in self.snapshots if _is_rolling(s) and s.state == "completed" and s.id not in sources]
        finals = [s for s in self.snapshots if _is_final(s) and s.state == "completed"] if rolling else []
        return tuple(
            s
            for s in rolling
            if any(
                f.volume_id == s.volume_id and s.started <= f.started and self._order(s) < self._order(f)
                for f in finals
            )
        )

    def checkpoint_of(self, save: str) -> Snapshot | None:
        """The snapshot that the save of this id took."""
        return next((s for s in self.snapshots if s.tags.get(tags.SAVE) == save), None)

    def forks(self) -> tuple[str, ...]:
        """The ids of volumes that share the newest generation; empty unless there are two or more.

        A copy of a snapshot, made with its tags, is the same data once more and no fork.
        """
        newest = self.next_generation() - 1
        origins = {
            i.id if isinstance(i, Volume) else i.volume_id
            for i in self.copies
            if self.generation_of(i) == newest and not self.is_stray(i) and not (isinstance(i, Snapshot) and i.is_copy)
        }
        return tuple(sorted(origins)) if len(origins) > 1 else ()

    def passed_over(self) -> tuple[Snapshot, ...]:
        """Copies with which nobody has gone on, though the newest one claims to be later, the newest of them first.

        Whatever makes a copy newer, a launch, an attachment or a choice, says so on the copies before it. So nothing
        that a user did leads to the newest one: it was made by hand, or forged. Nothing is told by copies that an
        xportal made which did not say so.
        """
        newest = self.newest()
        if not isinstance(newest, Snapshot):  # nobody but the account's users makes volumes
            return ()
        passed = (s for s in self._before(self.generation_of(newest)) if _is_unfollowed(s) and s.state != "error")
        return tuple(sorted(passed, key=self._order, reverse=True))

    def to_be_followed(self, generation: int) -> tuple[Snapshot, ...]:
        """Copies before a generation on which it does not stand yet that the drive went on without them, or that it
        went on with something of which nothing is left: who discarded that may say so at any time from now on.
        """
        there = {i.id if isinstance(i, Volume) else i.volume_id for i in self.copies} | {s.id for s in self.snapshots}
        return tuple(
            s
            for s in self._before(generation)
            if _is_unfollowed(s) or s.tags.get(tags.FOLLOWED, "") not in {"", *there}
        )

    def _before(self, generation: int) -> list[Snapshot]:
        return [s for s in self.snapshots if not self.is_stray(s) and self.generation_of(s) < generation]

    def follower_of(self, volume: Volume) -> str:
        """With what the drive went on after a volume, as its snapshots tell: a copy that somebody chose instead, or a
        later one that was there before it, as when somebody made a volume of an older snapshot by hand.
        """
        generation = self.generation_of(volume)
        before = (s for s in self.snapshots if s.started <= volume.created and self.generation_of(s) > generation)
        later = next(before, None)
        return volume.tags.get(tags.FOLLOWED) or (later.id if later else tags.NOBODY)

    def lock_state(self, mine: str | None) -> LockState:
        """What the lock says to the holder of launch id `mine`."""
        if self.lock is None:
            return LockState.FREE
        if self.lock.tags.get(tags.OURS) != "1":
            return LockState.STRANGE
        launch = self.lock.tags.get(tags.LAUNCH)
        if mine is not None and launch == mine:
            return LockState.MINE
        machines = [m for m in self.machines.values() if m.tags.get(tags.LAUNCH) == launch]
        if any(m.state != "terminated" for m in machines):
            return LockState.HELD
        if any(m.state_reason != NO_CAPACITY for m in machines):
            return LockState.STALE
        # It has no machine yet, or had one that AWS ended for want of capacity: then it tries the next offer.
        return LockState.STARTING if self.heartbeat_age() < HEARTBEAT_LIMIT.seconds else LockState.STALE

    def heartbeat_age(self) -> float:
        """Seconds since the lock's holder was last seen, by AWS's clock."""
        if self.lock is None:
            return 0.0
        seen = foreign.moment(self.lock.tags.get(tags.HEARTBEAT, ""))
        if seen is None or seen - self.now > HEARTBEAT_LIMIT:  # nobody beats in the future: edited by hand
            seen = self.lock.created
        return (self.now - seen).total_seconds()

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


def _is_unfollowed(snapshot: Snapshot) -> bool:
    """Whether nobody has gone on from a copy, or has discarded what came of it."""
    followed = snapshot.tags.get(tags.FOLLOWED)
    return followed is not None and followed in (tags.NOBODY, snapshot.tags.get(tags.GIVEN_UP))


def _is_confirmed(volume: Volume) -> bool:
    """Whether an `up` said, after it had looked at its lock, that a launch's volume is the drive's (I5)."""
    return tags.GENERATION in volume.tags or tags.NAME in volume.tags


def _told(item: Volume | Snapshot) -> int:
    """The generation that the tag tells; 0 if it tells none."""
    return foreign.whole(item.tags.get(tags.GENERATION, "")) or 0


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
    found = _DESCRIPTION.fullmatch(snapshot.description)
    if found is None:
        return None
    names = [foreign.name(word) for word in found["drives"].split(",")]
    generations = [foreign.whole(word) for word in found["generations"].split(",")]
    drives = {name: number for name, number in zip(names, generations, strict=False) if name and number is not None}
    if len(names) != len(generations) or len(drives) < len(names):  # edited copies of it are not ours
        return None
    told = snapshot.tags.get(tags.DRIVE) or snapshot.tags.get(tags.NAME)
    drive = next(iter(drives)) if len(drives) == 1 else told
    return Made(drive, drives[drive], found["kind"]) if drive and drive in drives else None


def _is_final(snapshot: Snapshot) -> bool:
    """It permits a deletion, so its tag and what it was made as must both say so."""
    return snapshot.tags.get(tags.KIND) == tags.FINAL and _was_final(snapshot)


def _was_final(snapshot: Snapshot) -> bool:
    made = described(snapshot)
    return made is not None and made.kind == tags.FINAL


def _is_rolling(snapshot: Snapshot) -> bool:
    """It is deleted without being asked for, so what it was made as and its tag must both say so; nobody chose it."""
    made = described(snapshot)
    chosen = tags.RESTORED in snapshot.tags
    return made is not None and made.kind == tags.ROLLED and snapshot.tags.get(tags.ROLLING) == "1" and not chosen


def lock_name(drive: str) -> str:
    """The name of the key pair that is a drive's lock."""
    return LOCK_PREFIX + drive
