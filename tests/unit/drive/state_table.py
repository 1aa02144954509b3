"""The state table: every combination of what can be observed of a drive, and the next action for each goal.

`python -m tests.unit.drive.state_table > docs/state-table.md` writes it anew.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from xportal.agent.full.proofs import seal_of
from xportal.aws import tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.drive import plan as p
from xportal.drive.keep import Keep
from xportal.drive.made import Description
from xportal.drive.model import Drive
from xportal.drive.plan import Goal

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CALLER, HOLDER = "L-caller", "L-machine"
SAVE = "save-1"
ZONE = "a"
PROOF = "what the machine alone can show"
NOWHERE: frozenset[str] = frozenset()
KEEP = Keep(last=1)
HEAD = """\
# The state table

Every combination of what can be observed of a drive ({count}), with the next action for each goal, as
`xportal/drive/plan.py` gives it; [drive-protocol.md](drive-protocol.md) says why.
`python -m tests.unit.drive.state_table` writes this page; a test compares it with the planner, and checks every
combination against the invariants. A cell *any* stands for every value that is possible with the other columns.
Snapshots: *older* is a completed final save of generation 1; every value except *none* and *forked* includes it;
*final* and *checkpoint* are of the volume, generation 2. Lock: *ours* is the caller's; *old* and *starting* are
another command's lock without a machine. An error's name in italics is a refusal: the user chooses. *Up in its zone*:
a machine can be had in the volume's zone. *Marked*: some command may be about to delete it.
"""
DELETIONS_HEAD = """
## Copies that the user gives up

The same combinations. *Prune* is told to keep the last snapshot; *delete* gives up all copies that are there.
"""
UNCONFIRMED_HEAD = """
## A launch that its holder does not confirm

Every combination of what can be observed of a machine whose lock is lost, or that never ran, and of a copy of a drive
that its launch made ({count}), as `plan_unconfirmed` gives it. *Ready*: another `up` took the machine over, so it is
left alone. *Marks*: on the machine and the copy. *Saves*: snapshots of the copy. *Attached*: somebody attached the
volumes for which the machine was launched.
"""
# What is wanted, and the zones where a machine can be had: a column of the table each.
COLUMNS = {
    "up": (Goal.UP, NOWHERE),
    "up in its zone": (Goal.UP, frozenset({ZONE})),
    **{goal.value: (goal, NOWHERE) for goal in (Goal.SAVE, Goal.DOWN, Goal.SWEEP, Goal.DISCARD)},
}
DELETIONS = {goal.value: (goal, NOWHERE) for goal in (Goal.PRUNE, Goal.DELETE)}  # those of another table


def machine(state: str, *, portal: str = "demo", disk: bool = True, awaits: bool = False) -> Instance:
    """A machine that was launched for drive demo."""
    own = {tags.PORTAL: portal, tags.LAUNCH: HOLDER, tags.DRIVE: "demo"} | ({tags.AWAITS: "3"} if awaits else {})
    disks = {DEVICE: "vol-2"} if disk else {}
    return Instance("i-1", state, "t3.medium", ZONE, NOW, "ami-1", disks=disks, tags=own)


def volume(state: str = "available", *, name: str = "vol-2", on: str | None = None, tagged: bool = True,
           delete: bool = False, marked: bool = False) -> Volume:  # fmt: skip
    """The volume of generation 2."""
    own = {tags.GENERATION: "2", tags.SEAL: seal_of(PROOF, "demo")} | ({tags.DRIVE: "demo"} if tagged else {})
    own |= {tags.MARKED: NOW.isoformat()} if marked else {}
    device = DEVICE if on else None
    return Volume(name, state, 8, ZONE, NOW, "snap-1", on, device, delete_on_termination=delete, tags=own)


def snapshot(name: str, generation: int, kind: str, state: str = "completed", hours: int = 0) -> Snapshot:
    """A snapshot that xportal took of the volume of that generation; its id ends with it."""
    own = {tags.DRIVE: "demo", tags.NAME: "demo", tags.GENERATION: str(generation), tags.KIND: kind}
    own |= {tags.PROOF: PROOF} if kind == tags.FINAL else {}
    text = str(Description({"demo": generation}, kind))
    started = NOW + timedelta(hours=hours)
    return Snapshot(name, f"vol-{generation}", state, started, 8, tags=own, description=text)


def withdrawn(final: Snapshot) -> Snapshot:
    """A final save that an `up` began to take back."""
    return replace(final, tags={**final.tags, tags.KIND: tags.WITHDRAWN})


def lock(launch: str, *, minutes: int = 0, ours: bool = True) -> KeyPair:
    """A lock whose heartbeat is so old."""
    beat = (NOW - timedelta(minutes=minutes)).isoformat()
    own = {tags.OURS: "1", tags.LAUNCH: launch, tags.HOLDER: "ann@desk", tags.HEARTBEAT: beat} if ours else {}
    return KeyPair("key-1", "xportal-demo", NOW, own)


LOCKS: dict[str, KeyPair | None] = {
    "none": None,
    "ours": lock(CALLER),
    "starting": lock("L-other"),
    "old": lock("L-other", minutes=11),
    "the machine's": lock(HOLDER),
    "strange": lock("", ours=False),
}
MACHINES: dict[str, Instance | None] = {
    "none": None,
    **{state: machine(state) for state in ("pending", "running", "shutting-down", "stopping", "stopped", "terminated")},
    "running, without the drive": machine("running", disk=False),
    "pending, to get the drive": machine("pending", disk=False, awaits=True),
    "running, to get the drive": machine("running", disk=False, awaits=True),
    "another portal's, running": machine("running", portal="other"),
}
STRANGER = Instance("i-9", "running", "t3.nano", ZONE, NOW, "ami-1")
VOLUMES: dict[str, tuple[Volume, ...]] = {
    "none": (),
    "attached": (volume("in-use", on="i-1"),),
    "attached, to be deleted with it": (volume("in-use", on="i-1", delete=True),),
    "attached, marked": (volume("in-use", on="i-1", marked=True),),
    "attached, untagged": (volume("in-use", on="i-1", tagged=False),),
    "detached": (volume(),),
    "detached, marked": (volume(marked=True),),
    "detached, untagged": (volume(tagged=False),),
    "creating": (volume("creating"),),
    "in error": (volume("error"),),
    "on a stranger": (volume("in-use", on="i-9"),),
    "two of one generation": (volume(), volume(name="vol-2b")),
}
OLDER = snapshot("snap-1", 1, tags.FINAL, hours=-1)
ROLLING = snapshot("snap-r", 2, tags.ROLLED, hours=-1)
ROLLING = replace(ROLLING, volume_id="vol-2", tags={**ROLLING.tags, tags.KIND: tags.CHECKPOINT, tags.ROLLING: "1"})
SNAPSHOTS: dict[str, tuple[Snapshot, ...]] = {
    "none": (),
    "older": (OLDER,),
    "checkpoint": (OLDER, snapshot("snap-2", 2, tags.CHECKPOINT)),
    "final pending": (OLDER, snapshot("snap-2", 2, tags.FINAL, "pending")),
    "final": (OLDER, snapshot("snap-2", 2, tags.FINAL)),
    "final withdrawn": (OLDER, withdrawn(snapshot("snap-2", 2, tags.FINAL))),
    "final withdrawn, pending": (OLDER, withdrawn(snapshot("snap-2", 2, tags.FINAL, "pending"))),
    "final in error": (OLDER, snapshot("snap-2", 2, tags.FINAL, "error")),
    "rolling, final": (OLDER, ROLLING, snapshot("snap-2", 2, tags.FINAL)),
    "rolling": (OLDER, ROLLING),
    "by hand": (OLDER, Snapshot("snap-h", "vol-2", "completed", NOW + timedelta(hours=1), 8, tags={tags.NAME: "demo"})),
    "forked": (snapshot("snap-2", 2, tags.FINAL),
               replace(snapshot("snap-2b", 2, tags.FINAL), volume_id="vol-2b")),
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """One combination, in words and as observed."""

    lock: str
    machine: str
    volume: str
    snapshots: str

    @functools.cached_property
    def drive(self) -> Drive:
        """What `observe` would return."""
        there = [m for m in (MACHINES[self.machine], STRANGER if self.volume == "on a stranger" else None) if m]
        return Drive(
            name="demo",
            now=NOW,
            lock=LOCKS[self.lock],
            volumes=VOLUMES[self.volume],
            snapshots=SNAPSHOTS[self.snapshots],
            machines={m.id: m for m in there},
        )

    @functools.cache  # noqa: B019  the tests ask several times, and states live as long as they do
    def plan(self, goal: Goal, zones: frozenset[str] = NOWHERE, *, mine: str | None = CALLER) -> p.Action:
        """The next action."""
        portal = None if goal is Goal.SWEEP else "demo"
        known = {copy.id for copy in self.drive.copies} if goal is Goal.DELETE else set[str]()
        asked = p.Request(goal, portal, mine, choice=SAVE, zones=zones, keep=KEEP, given_up=frozenset(known))
        return p.plan(self.drive, asked)


WITHOUT = ("running, without the drive", "pending, to get the drive", "running, to get the drive")


def states() -> Iterator[State]:
    """Every combination that can be observed."""
    for names in itertools.product(LOCKS, MACHINES, VOLUMES, SNAPSHOTS):
        state = State(*names)
        if is_possible(state):
            yield state


def is_possible(state: State) -> bool:
    """A volume is attached to a machine that is there; a lock is a machine's if there is one."""
    there = state.machine not in ("none", "terminated")
    if state.volume.startswith("attached") and (not there or state.machine in WITHOUT):
        return False
    if state.machine in ("pending", "running", "another portal's, running") and not state.volume.startswith("attached"):
        return False
    return state.lock != "the machine's" or state.machine != "none"


STATES = tuple(states())


def words(action: p.Action) -> str:
    """An action in a cell of the table."""
    names = {
        p.TakeLock: "take the lock",
        p.ReleaseLock: "delete the lock",
        p.SaveOnMachine: "save on the machine",
        p.Checkpoint: "checkpoint",
        p.KeepVolume: "keep the volume",
        p.Terminate: "terminate",
        p.SnapshotVolume: "snapshot the volume",
        p.DeleteVolume: "delete the volume",
        p.Wait: "wait",
        p.Mark: "mark",
        p.Prune: "prune",
        p.Disown: "disown the saves",
        p.DiscardCopies: "delete the copy",
        p.Attach: "attach the volume",
        p.Ready: "ready",
        p.Done: "done",
    }
    if isinstance(action, p.Launch):
        way = "to attach" if isinstance(action.source, Volume) else "from"
        return f"launch {way} {action.source.id}" if action.source else "launch blank"
    return f"*{type(action.error).__name__}*" if isinstance(action, p.Refuse) else names[type(action)]


def table() -> str:
    """The page."""
    count = len(STATES)
    return "\n".join(
        [
            HEAD.format(count=count),
            *goals_table(COLUMNS),
            DELETIONS_HEAD,
            *goals_table(DELETIONS),
            *unconfirmed_table(),
            "",
        ]
    )


def goals_table(columns: Mapping[str, tuple[Goal, frozenset[str]]]) -> list[str]:
    """Lines of the page: rows that differ in one column alone and agree on every action are one row."""
    rows = [
        ((s.lock, s.machine, s.volume, s.snapshots), tuple(words(s.plan(*column)) for column in columns.values()))
        for s in STATES
    ]
    grouped: list[Row] = [(tuple((name,) for name in facts), actions) for facts, actions in rows]
    for column in (3, 0, 2, 1):
        grouped = _merged(grouped, column)
    lines = [
        "| lock | machine | volume | snapshots | " + " | ".join(columns) + " |",
        "|---" * (4 + len(columns)) + "|",
    ]
    every: tuple[Collection[str], ...] = (LOCKS, MACHINES, VOLUMES, SNAPSHOTS)
    for facts, actions in grouped:
        lines.append("| " + " | ".join([*_cells(facts, every), *actions]) + " |")
    return lines


# A launch that its holder does not confirm: what its machine, one of its copies, and the marks on both can be.

UNCONFIRMED_MACHINES = ("pending", "running", "shutting-down", "stopping", "stopped", "terminated")
COPIES = ("none", "in-use", "available", "in-use, another's by now", "available, another's by now")
MARKS = {
    "none": {"i-1": False},
    "just now": {"i-1": False, "vol-9": False},
    "seen by all": {"i-1": True, "vol-9": True},
}
SAVES = {
    "none": (),
    "one": (Snapshot("snap-9", "vol-9", "completed", NOW, 8),),
    "disowned": (Snapshot("snap-9", "vol-9", "completed", NOW, 8, tags={tags.STRAY: "1"}),),
}


@dataclass(frozen=True)
class UnconfirmedState:
    """One combination, in words and as observed."""

    machine: str
    copy: str
    marks: str
    saves: str
    attached: bool

    @property
    def found(self) -> p.Unconfirmed:
        """What would be observed."""
        state, _, whose = self.copy.partition(", ")
        own = {tags.GENERATION: "3"} if whose else {}
        copies = () if state == "none" else (Volume("vol-9", state, 8, ZONE, NOW, "snap-1", tags=own),)
        return p.Unconfirmed(machine(self.machine), copies, SAVES[self.saves], self.attached, MARKS[self.marks])


def unconfirmed_states() -> Iterator[UnconfirmedState]:
    """Every combination."""
    for facts in itertools.product(UNCONFIRMED_MACHINES, COPIES, MARKS, SAVES, (False, True)):
        yield UnconfirmedState(*facts)


def unconfirmed_table() -> list[str]:
    """Lines of the page."""
    rows = [
        ((s.machine, s.copy, s.marks, s.saves, "yes" if s.attached else "no"), (words(p.plan_unconfirmed(s.found)),))
        for s in unconfirmed_states()
    ]
    grouped: list[Row] = [(tuple((name,) for name in facts), actions) for facts, actions in rows]
    for column in (3, 4, 0, 2, 1):
        grouped = _merged(grouped, column)
    every: tuple[Sequence[str], ...] = (UNCONFIRMED_MACHINES, COPIES, tuple(MARKS), tuple(SAVES), ("no", "yes"))
    lines = [
        UNCONFIRMED_HEAD.format(count=len(rows)),
        "| machine | copy | marks | saves | attached | next |",
        "|---|---|---|---|---|---|",
    ]
    for facts, actions in grouped:
        lines.append("| " + " | ".join([*_cells(facts, every), *actions]) + " |")
    return lines


def _cells(facts: Sequence[tuple[str, ...]], every: Sequence[Collection[str]]) -> list[str]:
    return ["any" if len(names) == len(all_) else "; ".join(names) for names, all_ in zip(facts, every, strict=True)]


Row = tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]


def _merged(rows: list[Row], column: int) -> list[Row]:
    found: dict[tuple[object, ...], list[str]] = {}
    for facts, actions in rows:
        found.setdefault((facts[:column], facts[column + 1 :], actions), []).extend(facts[column])
    return [((*before, tuple(names), *after), actions) for (before, after, actions), names in found.items()]  # type: ignore[misc]


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201
