"""The state table, row by row: what is observed, what is wanted, what is done next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from xportal.agent.full.proofs import seal_of
from xportal.aws import tags
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.drive import plan as p
from xportal.drive.made import Description
from xportal.drive.model import Drive
from xportal.drive.plan import Goal, Request, plan
from xportal.errors import DriveForked, DriveInUse, NoSuchCopy, PortalNotUp, Refused, SnapshotFailed

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PROOF = "what the machine alone can show"
SEAL = seal_of(PROOF, "demo")
C = TypeVar("C", Volume, Snapshot)


def snapshot(name: str = "snap-1", **told: Any) -> Snapshot:
    """A completed final snapshot of vol-1, generation 1, unless told otherwise."""
    generation = told.pop("generation", 1)
    kind = told.pop("kind", tags.FINAL)
    own = {tags.GENERATION: str(generation)} if generation else {}
    own |= {tags.KIND: kind} if kind else {}
    own |= {tags.PROOF: PROOF} if kind == tags.FINAL else {}
    values: dict[str, Any] = {"volume_id": "vol-1", "state": "completed", "started": NOW, "size_gib": 8, "tags": own}
    if kind and generation:
        values["description"] = str(Description({"demo": generation}, kind))
    return Snapshot(id=name, **(values | told))


def volume(name: str = "vol-1", **told: Any) -> Volume:
    """A detached volume of generation 1, unless told otherwise."""
    generation = told.pop("generation", 1)
    own = {tags.DRIVE: "demo", tags.SEAL: SEAL} | ({tags.GENERATION: str(generation)} if generation else {})
    values: dict[str, Any] = {"state": "available", "size_gib": 8, "zone": "a", "created": NOW, "tags": own}
    return Volume(id=name, **(values | told))


def marked(copy: C) -> C:
    """The same copy, as a deletion was decided."""
    return replace(copy, tags={**copy.tags, tags.MARKED: NOW.isoformat()})


def machine(state: str = "running", *, portal: str = "demo", launch: str = "L1") -> Instance:
    """A machine of portal demo."""
    own = {tags.PORTAL: portal, tags.LAUNCH: launch, tags.DRIVE: "demo"}
    return Instance(id="i-1", state=state, type="t3.medium", zone="a", launched=NOW, image_id="ami-1", tags=own)


def lock(launch: str = "L1", *, age: timedelta = timedelta(0)) -> KeyPair:
    """A lock whose heartbeat is `age` old."""
    own = {tags.OURS: "1", tags.LAUNCH: launch, tags.HOLDER: "ann@desk", tags.HEARTBEAT: (NOW - age).isoformat()}
    return KeyPair("key-1", "xportal-demo", NOW, own)


def drive(*items: Volume | Snapshot | Instance | KeyPair) -> Drive:
    """What AWS shows of drive demo."""
    return Drive(
        name="demo",
        now=NOW,
        lock=next((i for i in items if isinstance(i, KeyPair)), None),
        volumes=tuple(i for i in items if isinstance(i, Volume)),
        snapshots=tuple(i for i in items if isinstance(i, Snapshot)),
        machines={i.id: i for i in items if isinstance(i, Instance)},
    )


ON = {"instance_id": "i-1", "device": "/dev/sdf", "state": "in-use"}
OLD = timedelta(minutes=11)
NEXT = snapshot("snap-2", volume_id="vol-2", generation=2, started=NOW + timedelta(hours=1))
GONE = p.ReleaseLock(lock(), "its holder is gone")
PENDING = snapshot("snap-2", volume_id="vol-2", generation=2, state="pending")
HAND_MADE = snapshot("snap-h", generation=None, kind=None, started=NOW + timedelta(hours=2))

UP_ROWS = [
    ("nothing at all", [], None, p.TakeLock()),
    ("failed, and saved again in the same second", [lock(), snapshot("snap-9", state="error"), snapshot()], "L1",
     p.Launch(snapshot(), 2)),
    ("our lock, no data", [lock()], "L1", p.Launch(None, 1)),
    ("our lock, a snapshot", [lock(), snapshot()], "L1", p.Launch(snapshot(), 2)),
    ("the newest generation wins", [lock(), NEXT, snapshot()], "L1", p.Launch(NEXT, 3)),
    ("the generation outranks the time", [lock(), snapshot(started=NOW + OLD), PENDING], "L1", p.Wait),
    ("a final save comes after a checkpoint of the same second", [lock(), snapshot("snap-c", kind=tags.CHECKPOINT),
     snapshot()], "L1", p.Launch(snapshot(), 2)),
    ("a hand-made one takes its volume's generation", [lock(), snapshot(), HAND_MADE], "L1", p.Launch(HAND_MADE, 2)),
    ("a pending newest is waited for", [lock(), snapshot(), PENDING], "L1", p.Wait),
    ("running already", [lock(), machine(), volume(**ON)], None, p.Ready(machine())),
    ("a down that was cut off: saved, its machine still runs", [lock(), machine(), volume(**ON), snapshot()], None,
     p.Terminate(machine())),
    ("stopped by hand", [lock(), machine("stopped"), volume(**ON)], None, p.Terminate(machine("stopped"))),
    ("starting already", [lock(), machine("pending")], None, p.Ready(machine("pending"))),
    ("running, its lock deleted by hand", [machine(), volume(**ON)], None, p.Ready(machine())),
    ("its machine is going away", [lock(), machine("shutting-down"), volume(**ON)], None, p.Wait),
    ("its machine is gone", [lock(), machine("terminated"), volume()], None, GONE),
    ("an old claim without a machine", [lock(age=OLD)], "L2", p.ReleaseLock(lock(age=OLD), "its holder is gone")),
    ("a lone volume is saved first", [lock("L2"), volume()], "L2", p.SnapshotVolume(volume())),
    (
        "a lone volume with an old checkpoint is saved first",
        [lock("L2"), volume(), snapshot(kind=tags.CHECKPOINT)],
        "L2",
        p.SnapshotVolume(volume()),
    ),
    ("its drive was detached by hand: saved before all", [lock(), machine(), volume()], None,
     p.SnapshotVolume(volume())),
    ("its drive was deleted by hand", [lock(), machine(), snapshot()], None, p.Terminate(machine())),
    ("of two machines the one with the drive", [machine(), replace(machine(), id="i-2", launched=NOW + OLD),
     volume(**ON)], None, p.Ready(machine())),
    ("a machine that lost its portal's tag", [lock(), replace(machine(), tags={tags.DRIVE: "demo"}), volume(**ON)],
     None, p.Ready),
    ("a lone volume, saved", [lock("L2"), volume(), snapshot()], "L2", p.DeleteVolume(volume(), "snap-1 is complete")),
]  # fmt: skip

DOWN_ROWS = [
    ("nothing", [], p.Done()),
    ("data at rest", [snapshot()], p.Done()),
    ("running", [lock(), machine(), volume(**ON)], p.SaveOnMachine(machine(), volume(**ON))),
    ("a checkpoint is no final save", [machine(), volume(**ON), snapshot(kind=tags.CHECKPOINT)], p.SaveOnMachine),
    ("another volume's final is not ours", [machine(), volume(**ON), snapshot(volume_id="vol-0")], p.SaveOnMachine),
    ("snapshot started", [lock(), machine(), volume(**ON), snapshot(state="pending")], p.Terminate(machine())),
    (
        "somebody set delete-on-termination: before the save",
        [machine(), volume(**ON, delete_on_termination=True)],
        p.KeepVolume,
    ),
    ("the volume lost its tag: before it is detached", [machine(), volume(**ON, tags={})], p.KeepVolume),
    ("the same, its machine going away", [machine("shutting-down"), volume(**ON, tags={})], p.KeepVolume),
    (
        "a checkpoint that was tagged as final by hand is none",
        [machine(), volume(**ON), snapshot(description=str(Description({"demo": 1}, tags.CHECKPOINT)))],
        p.SaveOnMachine,
    ),
    ("saved before its generation was raised", [volume(generation=3), snapshot()], p.SnapshotVolume),
    ("a key pair that is not ours has the lock's name", [KeyPair("key-1", "xportal-demo", NOW)], p.Done()),
    ("a live machine before a lone volume", [machine(), volume("vol-0"), volume(generation=2, **ON)], p.SaveOnMachine),
    ("broken volume", [volume(state="error")], p.Refuse),
    (
        "attached by hand to a stranger",
        [Instance("i-1", "running", "t3.nano", "a", NOW, "ami-1"), volume(**ON)],
        p.Refuse,
    ),
    ("going away", [machine("shutting-down"), volume(**ON), snapshot(state="pending")], p.Wait),
    ("gone, still attached", [machine("terminated"), volume(**ON), snapshot(state="pending")], p.Wait),
    ("detached, snapshot pending", [volume(), snapshot(state="pending")], p.Wait),
    ("detached, snapshot failed", [volume(), snapshot(state="error")], p.SnapshotVolume(volume())),
    ("detached, never saved", [volume()], p.SnapshotVolume(volume())),
    ("detached, saved", [volume(), snapshot()], p.DeleteVolume(volume(), "snap-1 is complete")),
    ("volume deleted by hand", [lock(), machine()], p.Terminate(machine())),
    ("machine gone, lock left", [lock(), machine("terminated"), snapshot()], p.ReleaseLock(lock(), "all is saved")),
]


@pytest.mark.parametrize(("name", "items", "mine", "action"), UP_ROWS, ids=[row[0] for row in UP_ROWS])
def test_up(name: str, items: list[Any], mine: str | None, action: Any) -> None:
    """What `up` does next in each state."""
    got = plan(drive(*items), Request(Goal.UP, portal="demo", launch_id=mine))
    assert isinstance(got, action) if isinstance(action, type) else got == action, name


@pytest.mark.parametrize(("name", "items", "action"), DOWN_ROWS, ids=[row[0] for row in DOWN_ROWS])
def test_down(name: str, items: list[Any], action: Any) -> None:
    """What `down` does next in each state."""
    got = plan(drive(*items), Request(Goal.DOWN, portal="demo"))
    assert isinstance(got, action) if isinstance(action, type) else got == action, name


def test_down_unreachable() -> None:
    """A machine that does not answer is shut down; its drive is saved once it is detached."""
    state = drive(lock(), machine(), volume(**ON))
    assert plan(state, Request(Goal.DOWN, portal="demo", unreachable=frozenset({"i-1"}))) == p.Terminate(machine())


REFUSALS = [
    (Goal.UP, [lock(), machine(portal="other"), volume(**ON)], DriveInUse),
    (Goal.DOWN, [lock(), machine(portal="other"), volume(**ON)], DriveInUse),
    (Goal.UP, [lock()], DriveInUse),  # somebody else is bringing it up
    (Goal.DOWN, [lock()], DriveInUse),
    (
        Goal.DOWN,
        [lock(), Instance("i-0", "terminated", "t3.medium", "a", NOW, "ami-1", tags={tags.LAUNCH: "L0"})],
        DriveInUse,
    ),  # with the record of an earlier life
    (Goal.UP, [snapshot(volume_id="vol-1"), snapshot("snap-2", volume_id="vol-2")], DriveForked),
    (Goal.UP, [volume(), volume("vol-2")], DriveForked),
    (Goal.UP, [lock("L2"), snapshot(state="error")], SnapshotFailed),
    (Goal.UP, [KeyPair("key-1", "xportal-demo", NOW)], DriveInUse),  # not ours
    (Goal.RESTORE, [KeyPair("key-1", "xportal-demo", NOW)], DriveInUse),
]


@pytest.mark.parametrize(("goal", "items", "error"), REFUSALS)
def test_refused(goal: Goal, items: list[Any], error: type[Exception]) -> None:
    """States in which the user must choose."""
    got: object = plan(drive(*items), Request(goal, portal="demo", launch_id="L2"))
    assert isinstance(got, p.Refuse)
    assert isinstance(got.error, error)
    assert getattr(got.error, "hint", "")


HEARTBEATS = ["", "soon", "2026-01-01T11:59:00", (NOW + 2 * OLD).isoformat(), NOW.isoformat() + "Z"]


@pytest.mark.parametrize("told", HEARTBEATS)
def test_heartbeat_edited_by_hand(told: str) -> None:
    """What is no time, or cannot be, is not believed: the lock is as old as AWS says."""
    old = KeyPair("key-1", "xportal-demo", NOW - OLD, {tags.OURS: "1", tags.LAUNCH: "L1", tags.HEARTBEAT: told})
    assert plan(drive(old), Request(Goal.UP, portal="demo")) == p.ReleaseLock(old, "its holder is gone")


def test_no_tag_puts_data_behind_what_it_was_made_of() -> None:
    """A lowered or deleted generation changes nothing; a raised one chooses."""
    made = {"description": str(Description({"demo": 3}, tags.FINAL)), "volume_id": "vol-3"}
    lowered, untagged, raised = (snapshot("snap-3", **made, tags=own) for own in (
        {tags.GENERATION: "1"}, {}, {tags.GENERATION: "9"}))  # fmt: skip
    for copy, generation in ((lowered, 3), (untagged, 3), (raised, 9)):
        assert plan(drive(lock(), snapshot(), copy), Request(Goal.UP, launch_id="L1")) == p.Launch(copy, generation + 1)
    awake = volume("vol-4", snapshot_id="snap-3", generation=1)
    assert drive(lowered, awake).generation_of(awake) == 4


def test_sweep_leaves_what_is_in_use() -> None:
    """A sweep touches neither a running portal nor one that is being brought up, and saves the rest."""
    assert plan(drive(lock(), machine(), volume(**ON)), Request(Goal.SWEEP)) == p.Done()
    assert plan(drive(lock()), Request(Goal.SWEEP)) == p.Done()
    assert plan(drive(lock(), machine("terminated"), volume()), Request(Goal.SWEEP)) == p.SnapshotVolume(volume())


def test_volume_generation_is_derived() -> None:
    """A launch that was cut off before it tagged its volume still has its place: one after its snapshot."""
    untagged = volume("vol-2", generation=None, snapshot_id="snap-1")
    assert drive(snapshot(), untagged).generation_of(untagged) == 2


def test_snapshots_made_by_hand_follow_each_other() -> None:
    """Snapshots of an older tool carry a Name alone: the newest by time wins, and they are no fork."""
    old = [
        snapshot(f"snap-{n}", volume_id=f"vol-{n}", generation=None, kind=None, started=NOW + timedelta(hours=n))
        for n in (2, 1, 3)
    ]
    assert plan(drive(lock(), *old), Request(Goal.UP, launch_id="L1")) == p.Launch(old[2], 4)


def test_rescued_by_hand_after_a_known_life() -> None:
    """A hand-made snapshot of a volume that is gone follows what is older than it."""
    rescued = snapshot("snap-r", volume_id="vol-9", generation=None, kind=None, started=NOW + timedelta(hours=1))
    assert plan(drive(lock(), snapshot(), rescued), Request(Goal.UP, launch_id="L1")) == p.Launch(rescued, 3)


def test_sweep_ends_a_machine_whose_drive_is_saved() -> None:
    """It can never use the drive again, and is billed."""
    assert plan(drive(lock(), machine(), volume(**ON), snapshot()), Request(Goal.SWEEP)) == p.Terminate(machine())


def test_down_does_not_end_a_later_up() -> None:
    """While `down` waited, another computer brought the drive up: that is not what it was asked to end."""
    state = drive(lock(), machine(), volume(generation=2, **ON))
    assert plan(state, Request(Goal.DOWN, portal="demo", seen=frozenset({"i-0", "key-0"}))) == p.Done()
    assert isinstance(plan(state, Request(Goal.DOWN, portal="demo", seen=frozenset({"i-1", "key-1"}))), p.SaveOnMachine)


def test_copies_of_snapshots() -> None:
    """A copy made with tags is no fork; copies made without are each a new generation, by their time."""
    hour = timedelta(hours=1)
    same = snapshot("snap-c", volume_id="snap-c", started=NOW + hour)
    assert plan(drive(lock(), snapshot(), same), Request(Goal.UP, launch_id="L1")) == p.Launch(same, 2)
    first = snapshot("snap-c1", volume_id="snap-c1", generation=None, kind=None, started=NOW + hour)
    later = snapshot("snap-3", volume_id="vol-3", generation=3, started=NOW + 2 * hour)
    second = snapshot("snap-c2", volume_id="snap-c2", generation=None, kind=None, started=NOW + 3 * hour)
    got = plan(drive(lock(), snapshot(), first, later, second), Request(Goal.UP, launch_id="L1"))
    assert got == p.Launch(second, 5)


def test_untagged_volume_of_a_deleted_snapshot_is_the_newest() -> None:
    """Data that cannot be placed is never placed below what is older."""
    lone = volume("vol-9", generation=None, snapshot_id="snap-gone")
    assert drive(snapshot(generation=4), lone).generation_of(lone) == 5


@pytest.mark.parametrize("told", [None, 1])
def test_no_volume_is_behind_its_own_snapshots(told: int | None) -> None:
    """Its tag is lost and what it was made of gone: its final save counts, and its checkpoints are older."""
    lone = volume("vol-9", generation=told, snapshot_id="snap-gone")
    taken = snapshot("snap-c", volume_id="vol-9", generation=4, kind=tags.CHECKPOINT)
    final = snapshot("snap-f", volume_id="vol-9", generation=4, started=NOW + OLD)
    assert drive(snapshot(generation=3), lone, taken).newest() == lone
    state = drive(snapshot(generation=3), lone, taken, final)
    assert plan(state, Request(Goal.DOWN)) == p.DeleteVolume(lone, "snap-f is complete")


def test_a_chosen_volume_stays_chosen_without_its_generation() -> None:
    """Somebody works on it, perhaps: what is written after the choice is newer than what was there before it."""
    hour = timedelta(hours=1)
    lone = volume(generation=None)
    chosen = replace(lone, tags={**lone.tags, tags.RESTORED: f"1 {(NOW + 2 * hour).isoformat()}"})
    newer = snapshot("snap-3", volume_id="vol-3", generation=3, started=NOW + hour)
    assert drive(snapshot(), newer, chosen).generation_of(chosen) == 4
    after = snapshot("snap-4", generation=4, started=NOW + 3 * hour)
    assert plan(drive(snapshot(), newer, after, chosen), Request(Goal.DOWN)) == p.DeleteVolume(
        chosen, "snap-4 is complete"
    )


def test_a_final_save_that_an_attach_made_a_checkpoint_of_still_follows_those_of_its_second() -> None:
    """A hand-made one that AWS tells to the same second was made before the unmount."""
    final = snapshot("snap-f", kind=tags.CHECKPOINT, description=str(Description({"demo": 1}, tags.FINAL)))
    by_hand = snapshot("snap-h", kind=None, generation=None)
    assert drive(by_hand, final).newest() == drive(final, by_hand).newest() == final
    next_one = snapshot("snap-n", description=final.description)  # of the same volume, whose generation was lowered
    assert drive(next_one, final).newest() == drive(final, next_one).newest() == next_one


def checkpoint(save: str, **told: Any) -> Snapshot:
    """The checkpoint of a save."""
    own = {tags.GENERATION: "1", tags.KIND: tags.CHECKPOINT, tags.SAVE: save}
    return snapshot("snap-c", tags=own, **told)


SAVE_ROWS: list[tuple[str, list[Any], Any]] = [
    ("running", [lock(), machine(), volume(**ON)], p.Checkpoint(machine(), volume(**ON))),
    ("the checkpoint of another save", [machine(), volume(**ON), checkpoint("save-0")], p.Checkpoint),
    ("taken, its answer lost", [machine(), volume(**ON), checkpoint("save-1", state="pending")], p.Wait),
    ("taken and complete", [machine(), volume(**ON), checkpoint("save-1")], p.Done()),
    ("complete, and its machine is gone", [volume(), checkpoint("save-1")], p.Done()),
    ("failed", [machine(), volume(**ON), checkpoint("save-1", state="error")], SnapshotFailed),
    ("starting", [lock(), machine("pending")], p.Wait),
    ("not up", [snapshot()], PortalNotUp),
    ("a lone volume", [volume()], PortalNotUp),
    ("another portal's", [lock(), machine(portal="other"), volume(**ON)], DriveInUse),
    ("its final save has begun", [machine(), volume(**ON), snapshot(state="pending")], Refused),
]

RESTORE_ROWS: list[tuple[str, list[Any], Any]] = [
    ("no lock yet", [snapshot(), NEXT], p.TakeLock()),
    ("our lock", [lock("L2"), snapshot(), NEXT], p.Choose(snapshot(), 3)),
    ("chosen, the lock still there", [lock("L2"), snapshot(generation=3), NEXT], p.ReleaseLock),
    ("chosen", [snapshot(generation=3), NEXT], p.Done()),
    ("the newest already", [snapshot()], p.Done()),
    ("its volume is still there", [volume(), snapshot()], p.TakeLock()),
    ("at a fork of snapshots", [lock("L2"), snapshot(), snapshot("snap-2", volume_id="vol-2")],
     p.Choose(snapshot(), 2)),
    ("a stale lock", [lock(age=OLD), snapshot(), NEXT], p.ReleaseLock(lock(age=OLD), "its holder is gone")),
    ("somebody brings it up", [lock(), snapshot(), NEXT], DriveInUse),
    ("awake", [lock(), machine(), volume(**ON), snapshot()], DriveInUse),
    ("stopped by hand", [machine("stopped"), volume(**ON), snapshot()], DriveInUse),
    ("its machine is going away", [machine("shutting-down"), snapshot(), NEXT], p.Wait),
    ("no such copy", [NEXT], NoSuchCopy),
    ("a failed copy", [snapshot(state="error"), NEXT], NoSuchCopy),
    ("a copy that is to be deleted", [lock("L2"), marked(snapshot()), NEXT], NoSuchCopy),
]  # fmt: skip

DISCARD_ROWS: list[tuple[str, list[Any], Any]] = [
    ("running", [lock(), machine(), volume(**ON)], p.Mark((volume(**ON),))),
    ("running, marked", [lock(), machine(), marked(volume(**ON))], p.Terminate(machine(), at_once=True)),
    ("going away", [lock(), machine("shutting-down"), marked(volume(**ON))], p.Wait),
    ("detached", [lock(), machine("terminated"), volume()], p.Mark((volume(),))),
    ("detached, marked", [lock(), machine("terminated"), marked(volume())],
     p.DeleteVolume(marked(volume()), "discarded")),
    ("all gone", [lock(), machine("terminated"), snapshot()], p.ReleaseLock(lock(), "all that was to go is gone")),
    ("nothing", [snapshot()], p.Done()),
    ("forked", [volume(), volume("vol-2")], DriveForked),
    ("attached by hand to a stranger", [Instance("i-1", "running", "t3.nano", "a", NOW, "ami-1"),
     marked(volume(**ON))], DriveInUse),
    ("another portal's", [lock(), machine(portal="other"), volume(**ON)], DriveInUse),
    ("somebody brings it up", [lock(), volume()], DriveInUse),
]  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "items", "expected"),
    [
        pytest.param(goal, items, expected, id=f"{goal.value}: {name}")
        for goal, rows in ((Goal.SAVE, SAVE_ROWS), (Goal.RESTORE, RESTORE_ROWS), (Goal.DISCARD, DISCARD_ROWS))
        for name, items, expected in rows
    ],
)
def test_the_other_goals(goal: Goal, items: list[Any], expected: Any) -> None:
    """What `save`, `restore` and `down --discard` do next in each state; an error class stands for its refusal."""
    choice = {Goal.SAVE: "save-1", Goal.RESTORE: "snap-1"}.get(goal, "")
    got: object = plan(drive(*items), Request(goal, portal="demo", launch_id="L2", choice=choice))
    if isinstance(got, p.Refuse):
        assert got.error.hint
        got = got.error
    assert isinstance(got, expected) if isinstance(expected, type) else got == expected


def test_discard_takes_only_what_was_there() -> None:
    """A volume that came after the user said so is not deleted, nor one that has lived again since."""
    gone = marked(volume())
    assert plan(drive(gone), Request(Goal.DISCARD, seen=frozenset())) == p.Done()
    assert isinstance(plan(drive(gone), Request(Goal.DISCARD, seen=drive(gone).there())), p.DeleteVolume)
    assert plan(drive(marked(volume(generation=2))), Request(Goal.DISCARD, seen=drive(gone).there())) == p.Done()


def test_down_without_waiting() -> None:
    """Done once everything goes on by itself; a machine that still starts is waited for, it may hold data."""
    ending: list[Volume | Snapshot | Instance | KeyPair] = [lock(), machine("shutting-down"), volume(**ON)]
    pending = snapshot(state="pending")
    assert plan(drive(*ending, pending), Request(Goal.DOWN, wait=False)) == p.Done()
    assert isinstance(plan(drive(*ending), Request(Goal.DOWN, wait=False)), p.Wait)
    assert plan(drive(volume(), pending), Request(Goal.DOWN, wait=False)) == p.Done()
    assert isinstance(plan(drive(volume(), snapshot()), Request(Goal.DOWN, wait=False)), p.DeleteVolume)
    assert isinstance(plan(drive(machine("pending"), volume(**ON)), Request(Goal.DOWN, wait=False)), p.Wait)


def test_rolling_checkpoints_of_a_volume_that_is_gone_stay() -> None:
    """Somebody deleted the volume: a final save of another life does not have what they have."""
    own = {tags.GENERATION: "1", tags.KIND: tags.CHECKPOINT, tags.ROLLING: "1"}
    rolled = snapshot("snap-r", tags=own, description=str(Description({"demo": 1}, tags.ROLLED)))
    later = snapshot("snap-f", started=NOW + timedelta(hours=1))
    assert plan(drive(rolled, NEXT), Request(Goal.DOWN)) == p.Done()
    assert plan(drive(rolled, later), Request(Goal.DOWN)) == p.Mark((rolled,))
    pruned = plan(drive(marked(rolled), later), Request(Goal.DOWN))
    assert isinstance(pruned, p.Prune)
    assert pruned.snapshots == (marked(rolled),)


def test_restored_copies_do_not_move_their_volume() -> None:
    """A hand-made snapshot of the volume of a copy that was restored stays where it was."""
    restored = snapshot(tags={tags.GENERATION: "5", tags.RESTORED: f"1 {NOW.isoformat()}"})
    assert drive(restored, HAND_MADE).generation_of(HAND_MADE) == 1


def test_a_restored_copy_comes_before_what_is_made_by_hand_later() -> None:
    """What was made by hand before the restore stays behind it; what was made after it is newer."""
    hour = timedelta(hours=1)
    hand = snapshot("snap-h", volume_id="vol-h", generation=None, kind=None, started=NOW + hour)
    restored = snapshot(tags={tags.GENERATION: "3", tags.RESTORED: f"1 {(NOW + 2 * hour).isoformat()}"})
    assert plan(drive(lock(), restored, hand), Request(Goal.UP, launch_id="L1")) == p.Launch(restored, 4)
    later = snapshot("snap-l", volume_id="vol-l", generation=None, kind=None, started=NOW + 3 * hour)
    assert plan(drive(lock(), restored, hand, later), Request(Goal.UP, launch_id="L1")) == p.Launch(later, 5)


def test_a_restore_outranks_a_volume_made_of_the_copy_before() -> None:
    """An untagged volume that was made of the chosen copy stays the generation that it was; one made later is newer."""
    hour = timedelta(hours=1)
    restored = snapshot(tags={tags.GENERATION: "3", tags.RESTORED: f"1 {(NOW + 2 * hour).isoformat()}"})
    before = volume("vol-b", generation=None, snapshot_id=restored.id, created=NOW + hour)
    after = volume("vol-a", generation=None, snapshot_id=restored.id, created=NOW + 3 * hour)
    assert plan(drive(restored, before), Request(Goal.RESTORE, choice=restored.id)) == p.Done()
    assert drive(restored, before, after).generation_of(after) == 4
