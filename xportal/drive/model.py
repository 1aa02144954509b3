"""A drive as AWS shows it: pure questions over one observation. Order of a drive's data: invariant I1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from xportal.aws import tags
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume

DEVICE = "/dev/sdf"  # where every drive is attached; a volume attached elsewhere is a root disk
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


@dataclass(frozen=True)
class Drive:
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

    def live_machine(self) -> Instance | None:
        """The machine that the drive is awake on, or is being brought up on."""
        live = [m for m in self.machines.values() if m.state in LIVE]
        return max(live, key=lambda m: m.launched, default=None)

    def generation_of(self, item: Volume | Snapshot) -> int:
        """The tag; else, for a volume, one more than its snapshot's; else, for a snapshot, its volume's;
        else its place among the others by StartTime."""
        told = item.tags.get(tags.GENERATION, "")
        if told.isdecimal():
            return int(told)
        if isinstance(item, Volume):
            source = next((s for s in self.snapshots if s.id == item.snapshot_id), None)
            return self.generation_of(source) + 1 if source else 1
        return self._generation_by_volume(item) or self._generation_by_time(item)

    def newest_snapshot(self) -> Snapshot | None:
        """The newest, in whatever state."""
        return max(self.snapshots, key=lambda s: (self.generation_of(s), s.started), default=None)

    def final_of(self, volume: Volume) -> Snapshot | None:
        """The newest snapshot of this very volume made after its last unmount; a failed one if there is no other."""
        finals = [s for s in self.snapshots if s.volume_id == volume.id and s.tags.get(tags.KIND) == tags.FINAL]
        return max(finals, key=lambda s: (s.state != "error", s.started), default=None)

    def forks(self) -> tuple[str, ...]:
        """The ids of volumes that share the newest generation; empty unless there are two or more."""
        items: list[Volume | Snapshot] = [*self.volumes, *self.snapshots]
        newest = max((self.generation_of(i) for i in items), default=0)
        origins = {i.id if isinstance(i, Volume) else i.volume_id for i in items if self.generation_of(i) == newest}
        return tuple(sorted(origins)) if len(origins) > 1 else ()

    def lock_state(self, mine: str | None) -> LockState:
        """What the lock says to the holder of launch id `mine`."""
        if self.lock is None:
            return LockState.FREE
        launch = self.lock.tags.get(tags.LAUNCH)
        if launch == mine:
            return LockState.MINE
        machines = [m for m in self.machines.values() if m.tags.get(tags.LAUNCH) == launch]
        if machines:
            return LockState.HELD if any(m.state != "terminated" for m in machines) else LockState.STALE
        return LockState.STARTING if self.now - self._heartbeat(self.lock) < HEARTBEAT_LIMIT else LockState.STALE

    def _heartbeat(self, lock: KeyPair) -> datetime:
        told = lock.tags.get(tags.HEARTBEAT)
        return datetime.fromisoformat(told) if told else lock.created

    def _generation_by_volume(self, snapshot: Snapshot) -> int:
        volume = next((v for v in self.volumes if v.id == snapshot.volume_id), None)
        if volume:
            return self.generation_of(volume)
        siblings = [s for s in self.snapshots if s.volume_id == snapshot.volume_id]
        return max((int(s.tags.get(tags.GENERATION, 0)) for s in siblings), default=0)

    def _generation_by_time(self, snapshot: Snapshot) -> int:
        earlier = [s for s in self.snapshots if s.started <= snapshot.started]
        return max((int(s.tags.get(tags.GENERATION, 0)) for s in earlier), default=0)


def lock_name(drive: str) -> str:
    """The name of the key pair that is a drive's lock."""
    return LOCK_PREFIX + drive
