"""A drive as AWS shows it: pure questions over one observation. Which copy is the newest: `generations`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from xportal import foreign
from xportal.agent.full.proofs import seal_of
from xportal.aws import tags
from xportal.aws.devices import device_of
from xportal.aws.records import NO_CAPACITY, Instance, KeyPair, Snapshot, Volume
from xportal.drive.generations import Copies
from xportal.drive.made import is_final, is_rolling, was_final

LOCK_PREFIX = "xportal-"
HEARTBEAT_LIMIT = timedelta(minutes=10)

LIVE = ("pending", "running")
ENDING = ("shutting-down", "stopping")


class LockState(Enum):
    """What the lock of a drive says."""

    FREE = "free"
    MINE = "mine"
    HELD = "held"  # its machine lives
    STARTING = "starting"  # no machine yet, its heartbeat is fresh
    STALE = "stale"  # its machine is gone, or it never got one
    FOREIGN = "foreign"  # a key pair of the lock's name that is not ours


@dataclass(frozen=True)
class Drive(Copies):
    """Everything AWS tells of one drive at one moment; `now` is AWS's time."""

    name: str
    now: datetime
    lock: KeyPair | None = None
    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    machines: Mapping[str, Instance] = field(default_factory=dict)

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
        own = (s for s in self.snapshots if s.volume_id == volume.id and was_final(s) and s.state != "error")
        return tuple(s for s in own if s.tags.get(tags.KIND) != tags.CHECKPOINT)

    def awaiting(self) -> Instance | None:
        """A live machine that was launched for a volume, and does not have it yet."""
        machine = self.live_machine()
        return machine if machine and tags.AWAITS in machine.tags and not self.is_on(machine) else None

    def awaited_generation(self, machine: Instance) -> int:
        """The generation that the drive will be on a machine that awaits it; 0 if nothing tells."""
        place = tags.drive_places(machine.tags).get(self.name)
        told = machine.tags.get(tags.AWAITS, "").split(",")
        return (foreign.whole(told[place]) or 0) if place is not None and place < len(told) else 0

    def final_of(self, volume: Volume) -> Snapshot | None:
        """The newest snapshot of this very volume made after its last unmount; a failed one if there is no other.

        One that proves nothing may have been made by anybody, and before the unmount: it does not count.
        """
        generation = self.generation_of(volume)  # it is raised when the volume is chosen: then it is saved again
        finals = [
            s
            for s in self.snapshots
            if s.volume_id == volume.id
            and is_final(s)
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
        rolling = [s for s in self.snapshots if is_rolling(s) and s.state == "completed" and s.id not in sources]
        finals = [s for s in self.snapshots if is_final(s) and s.state == "completed"] if rolling else []
        return tuple(
            s
            for s in rolling
            if any(
                f.volume_id == s.volume_id and s.started <= f.started and self.order_of(s) < self.order_of(f)
                for f in finals
            )
        )

    def checkpoint_of(self, save: str) -> Snapshot | None:
        """The snapshot that the save of this id took."""
        return next((s for s in self.snapshots if s.tags.get(tags.SAVE) == save), None)

    def lock_state(self, launch_id: str | None) -> LockState:
        """What the lock says to the holder of this launch id."""
        if self.lock is None:
            return LockState.FREE
        if self.lock.tags.get(tags.OURS) != "1":
            return LockState.FOREIGN
        launch = self.lock.tags.get(tags.LAUNCH)
        if launch_id is not None and launch == launch_id:
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


def lock_name(drive: str) -> str:
    """The name of the key pair that is a drive's lock."""
    return LOCK_PREFIX + drive
