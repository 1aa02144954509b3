"""Histories of a drive: commands on two laptops, cut off anywhere, the console, AWS and the weather, in any order.

After every step the invariants of docs/drive-protocol.md are asserted on the bytes: see `Histories.check`. A command
that nothing disturbs must also do what it promises, unless the state of things excuses it: see `Histories._excuses`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.crash.histories.clock import WORK_SECONDS, CtrlC
from tests.crash.histories.laptop import KilledError, Laptop, Trouble
from tests.crash.histories.ledger import Violation, read_records
from tests.crash.histories.world import World
from xportal.aws import tags
from xportal.aws.devices import DEVICE
from xportal.errors import (
    DriveInUse,
    MachineLost,
    NoCapacity,
    NoSuchCopy,
    PortalNotUp,
    Refused,
    SaveIncomplete,
    SnapshotFailed,
    XportalError,
)
from xportal.sandbox.api.ec2 import attachments, instances, interruption, key_pairs, snapshots

WHO = st.sampled_from([0, 1])
COMMANDS = ("up", "down", "down --no-wait", "save", "sweep", "discard", "restore")
COMMAND = st.sampled_from(("up", "down", *COMMANDS))
EVENTS = ("power cut", "terminate", "notice", "delete lock", "snapshot by hand", "wait")
STEPS = ("Agent", "CreateSnapshot", "CreateTags", "DeleteKeyPair", "DeleteVolume", "ImportKeyPair", "RunInstances")
STEP = st.one_of(st.integers(1, 50), st.sampled_from(STEPS))  # of a command: it makes 10 to 60 AWS calls
RACES = (  # a command, one of its steps, and what comes in before it, where a moment decides: chance seldom finds it
    ("up", "RunInstances", ("up",)),
    ("up", "RunInstances", ("delete lock", "up")),
    ("down", "Agent", ("notice",)),
    ("down", "CreateSnapshot", ("down",)),
)
HOW = st.sampled_from(["kill", "kill-after", "ctrl-c", "busy", "lost"])
EDITABLE = (tags.NAME, tags.GENERATION, tags.KIND, tags.LAUNCH, tags.ARCHITECTURE)


class Histories(RuleBasedStateMachine):
    """One drive's history. `world` is set before it is run."""

    world: ClassVar[World]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []  # what happened, for whoever reads of a failure
        self.written = 0
        self.edited: set[str] = set()  # what had a tag deleted

    @initialize(seconds=st.sampled_from([2, 10, 30]))
    def begin(self, seconds: int) -> None:
        """A drive that nobody ever used."""
        self.world.begin(seconds)

    # Commands

    @rule(who=WHO)
    def up(self, who: int) -> None:
        self._run(who, "up")

    @rule(who=WHO, what=COMMAND)
    def command(self, who: int, what: str) -> None:
        self._run(who, what)

    @rule(who=WHO, what=COMMAND, at=STEP, how=HOW, times=st.integers(1, 6))
    def cut(self, who: int, what: str, at: int | str, how: str, times: int) -> None:
        """A command that is killed, or whose calls fail, at one of its AWS calls."""
        self._run(who, what, Trouble(at, how, times if how in ("busy", "lost") else 1))

    @rule(who=WHO, what=COMMAND, at=STEP, other=st.sampled_from(COMMANDS + EVENTS))
    def meanwhile(self, who: int, what: str, at: int | str, other: str) -> None:
        """A command during which the other laptop runs one from beginning to end, or something happens."""
        self._run_meanwhile(who, what, at, (other,))

    @rule(who=WHO, race=st.sampled_from(RACES))
    def race(self, who: int, race: tuple[str, str, tuple[str, ...]]) -> None:
        """The same, at the worst moment."""
        self._run_meanwhile(who, *race)

    @rule(who=WHO, what=COMMAND, kind=st.sampled_from(["throttle", "error", "lost"]), seed=st.integers(0, 99))
    def storm(self, who: int, what: str, kind: str, seed: int) -> None:
        """A command of whose AWS calls every fifth fails."""
        fault = self.world.cloud.add_fault(kind, rate=0.2, seed=seed)
        self._run(who, what, Trouble(0, kind))
        fault.count = 0

    # Work

    @precondition(lambda self: self.world.working_volume())
    @rule(records=st.integers(1, 3), flushed=st.booleans())
    def write(self, records: int, flushed: bool) -> None:
        """A program on the machine writes; what it flushed is acknowledged."""
        volume = self.world.working_volume()
        assert volume
        self.told.append(f"{records} records more, {'flushed' if flushed else 'not flushed'}")
        for _ in range(records):
            self.written += 1
            self.world.ledger.write(volume, f"record {self.written}")
        if flushed:
            self.world.flush(volume)

    # AWS, the net and time

    @precondition(lambda self: self.world.ledger.copies)
    @rule(what=st.sampled_from(EVENTS))
    def happen(self, what: str) -> None:
        self._happen(what)

    @precondition(lambda self: self.world.machines("running"))
    @rule(seconds=st.sampled_from([5, 120]), role=st.booleans())
    def interrupt(self, seconds: int, role: bool) -> None:
        """AWS takes the machine back. With its role it saves by itself; else it works until the power goes."""
        self._take_back(seconds, role=role)

    @precondition(lambda self: self.world.machines("running"))
    @rule()
    def ssh_fails(self) -> None:
        """The machine does not answer ssh any more, and works on."""
        self.told.append("ssh fails")
        self.world.deaf.add(self.world.machines("running")[0].id)

    @precondition(lambda self: self.world.ledger.copies)
    @rule(seconds=st.sampled_from([1, 30, 700]))
    def time_passes(self, seconds: int) -> None:
        self.told.append(f"{seconds} s pass")
        self.world.clock.advance(seconds)

    @precondition(lambda self: self.world.ledger.copies)
    @rule(
        kind=st.sampled_from(["capacity", "snapshot-fail", "snapshot-stuck", "snapshot-slow"]), count=st.integers(1, 7)
    )
    def trouble_ahead(self, kind: str, count: int) -> None:
        """So many launches find no capacity; the next snapshots fail, never end, or take long."""
        self.told.append(f"{kind} {count} times")
        seconds = {"seconds": 300} if kind == "snapshot-slow" else {}
        self.world.cloud.add_fault(kind, count=count, **seconds)

    @precondition(lambda self: self.world.cloud.faults.as_json() or any(s.stuck for s in self.world.snapshots()))
    @rule()
    def aws_recovers(self) -> None:
        """All that was in trouble goes on."""
        self.told.append("AWS recovers")
        self.world.cloud.clear_faults()

    # The console

    @precondition(lambda self: self.world.machines("pending", "running"))
    @rule()
    def delete_on_termination(self) -> None:
        """Somebody switches it on for the drive."""
        self.told.append("delete on termination is switched on")
        for machine in self.world.machines("pending", "running"):
            if DEVICE in machine.block_device_mapping:
                machine.block_device_mapping[DEVICE].delete_on_termination = True

    @precondition(lambda self: len(self.world.snapshots()) > 1)
    @rule(number=st.integers(0, 9))
    def delete_snapshot(self, number: int) -> None:
        """Any but the newest copy."""
        ledger, newest = self.world.ledger, self.world.ledger.newest()
        old = [s for s in self.world.snapshots() if s.id != (newest and newest.id) and not s.deletion_asked]
        if old:
            snapshot = old[number % len(old)]
            self.told.append(f"{snapshot.id} is deleted by hand")
            ledger.copies[snapshot.id].deleted = True
            snapshots.delete_snapshot(self.world.backend, snapshot)

    @precondition(lambda self: self.world.snapshots() or self.world.volumes())
    @rule(number=st.integers(0, 9), key=st.sampled_from(EDITABLE))
    def delete_tag(self, number: int, key: str) -> None:
        """One tag of a volume or snapshot; never two of one."""
        records = [*self.world.volumes(), *self.world.snapshots()]
        record = records[number % len(records)]
        if record.id not in self.edited and key in self.world.tags_of(record.id):
            self.told.append(f"tag {key} of {record.id} is deleted")
            del self.world.backend.tags[record.id][key]
            self.edited.add(record.id)
            if key == tags.GENERATION:
                self.world.ledger.unchosen(record.id)
            if key == tags.NAME and tags.OURS not in self.world.tags_of(record.id):  # a snapshot made by hand
                self.world.ledger.disown(record.id)

    @precondition(lambda self: self.world.working_volume())
    @rule()
    def detach(self) -> None:
        """The drive is pulled out of its running machine."""
        volume_id = self.world.working_volume()
        assert volume_id
        volume = self.world.backend.volumes[volume_id]
        self.told.append(f"{volume.id} is detached by hand")
        attachments.detach(self.world.backend, volume, {})
        self.world.clock.advance(WORK_SECONDS)

    # What must hold

    @invariant()
    def check(self) -> None:
        """After every step: nothing is lost, one writer, nothing went too early, the bytes are as the ledger says."""
        type(self).steps += 1
        world = self.world
        if world.violations:
            self._fail(world.violations[0])
        for snapshot in world.snapshots():
            world.ledger.copies[snapshot.id].failed = snapshot.outcome == "error"
        try:
            world.ledger.check_newest()
        except Violation as violation:
            self._fail(violation)
        for copy in world.ledger.copies.values():
            path = (world.disks.volume_path if copy.is_volume else world.disks.snapshot_path)(copy.id)
            if read_records(path) != copy.records:
                self._fail(f"{copy.id} should hold {copy.records}, and holds {read_records(path)}")
        writers = [m.id for m in world.machines("running") if self._writes(m)]
        if len(writers) > 1:
            self._fail(f"I3: {writers} can all write to the drive")

    def teardown(self) -> None:
        """At the end everything is put right that only AWS or a person can; then the drive comes up with all that was
        acknowledged, and goes down leaving nothing.
        """
        try:
            if self.world.ledger.copies and not self.world.violations:
                self._finish()
        finally:
            self.world.end()

    def _finish(self) -> None:
        self.world.cloud.clear_faults()
        self.world.deaf.clear()
        self.world.clock.advance(3600)
        for who, what in ((0, "down"), (1, "up"), (0, "down")):
            if self._run(who, what) and what != "up":
                self._fail(f"{what} did not finish")
        self.check()

    # How it is done

    def _fail(self, violation: Violation | str) -> None:
        story = "\n".join(self.told)
        found = Violation(f"after {self.steps} steps: {violation}\n{story}")
        self.world.violations.append(found)  # the end of the history is not to fail once more, and hide this
        raise found

    def _writes(self, machine: Any) -> bool:
        attachment = machine.block_device_mapping.get(DEVICE)
        return attachment is not None and attachment.volume_id not in self.world.ledger.unmounted

    def _run(self, who: int, what: str, trouble: Trouble | None = None) -> BaseException | None:
        """One command; undisturbed it must do what it promises, unless something known stands in its way."""
        what = what if self.world.ledger.copies else "up"  # of a drive that never was there is nothing else to do
        excuses = self._excuses(what)
        self.world.laptops[who].trouble = trouble
        if trouble:
            self.told.append(f"at step {trouble.at}: {trouble.how} (x{trouble.times})")
        error = self._attempt(who, what)
        if trouble or self.world.violations:
            return error
        if error is None:
            self._check_done(what)
        elif not isinstance(error, tuple(excuses)):
            self._fail(f"{what} was refused: {error!r}; expected at most {excuses}")
        return error

    def _run_meanwhile(self, who: int, what: str, at: int | str, others: Sequence[str]) -> None:
        def act() -> None:
            self.told.append(f"  meanwhile, before step {at}:")
            for other in others:
                if other in COMMANDS:
                    self._attempt(1 - who, other)
                else:
                    self._happen(other)

        self._run(who, what, Trouble(at, "meanwhile", meanwhile=act))

    def _attempt(self, who: int, what: str) -> BaseException | None:
        """Run it; the error that a user can meet, if it ended with one."""
        world, laptop = self.world, self.world.laptops[who]
        newest = world.ledger.newest()
        commands: dict[str, Callable[[], Any]] = {
            "up": lambda: laptop.up(world.drive),
            "down": lambda: laptop.down(world.drive),
            "down --no-wait": lambda: laptop.down(world.drive, wait=False),
            "save": lambda: laptop.save(world.drive),
            "sweep": laptop.sweep,
            "discard": lambda: laptop.down(world.drive, discard=True),
            "restore": lambda: self._restore(laptop),
        }
        discards = newest and newest.is_volume and what == "discard"
        laptop.gives_up = (newest.id, newest.attachments) if newest and discards else None
        try:
            commands[what]()
        except (XportalError, KilledError, CtrlC) as error:
            self.told.append(f"{laptop.name}: {what}: {error!r} after {laptop.calls} calls")
            return error
        self.told.append(f"{laptop.name}: {what}: done in {laptop.calls} calls")
        return None

    def _restore(self, laptop: Laptop) -> None:
        """The copy before the newest, if there is one."""
        copies = self.world.offered()
        laptop.restore(self.world.drive, copies[-2:][0].id if copies else "snap-0")

    def _excuses(self, what: str) -> list[type[BaseException]]:
        """The errors that the state of things excuses."""
        world, excuses = self.world, list[type[BaseException]]()
        lock, machines = world.lock(), world.machines()
        launch = lock and world.tags_of(lock.id).get(tags.LAUNCH)
        if lock and not any(world.tags_of(m.id).get(tags.LAUNCH) == launch for m in machines):
            excuses.append(DriveInUse)  # of an `up` that was cut off
        if what == "restore":
            excuses += [DriveInUse] if machines else [] if world.offered() else [NoSuchCopy]
        taken = any(machine.power_ends_at for machine in machines)  # by AWS, perhaps in the middle of the command
        for machine in machines:
            lost = machine.id in world.deaf or DEVICE not in machine.block_device_mapping
            if lost or taken:
                excuses.append(MachineLost)
            if not lost and not self._writes(machine):
                excuses.append(Refused)
        if what == "save" and (taken or not world.working_volume()):
            excuses += [PortalNotUp, Refused, SaveIncomplete]
        faults = {fault["kind"] for fault in world.cloud.faults.as_json()}
        if "capacity" in faults:
            excuses.append(NoCapacity)
        if "snapshot-fail" in faults or any(s.outcome == "error" for s in world.snapshots()):
            excuses += [SaveIncomplete, SnapshotFailed]
        if faults & {"snapshot-stuck", "snapshot-slow"} or any(s.status == "pending" for s in world.snapshots()):
            excuses.append(CtrlC)
        return excuses

    def _check_done(self, what: str) -> None:
        """What a command promises that says it is done."""
        if what == "up":
            self._check_up()
        elif what == "down":
            self._check_down()
        elif what == "sweep" and not self.world.machines() and not self.world.lock():
            self._check_down()  # nobody works on it

    def _check_up(self) -> None:
        """The drive is awake with all that was acknowledged, on one machine."""
        world = self.world
        machines = world.machines()
        if any(machine.power_ends_at for machine in machines):
            return  # AWS takes it back, perhaps in this very moment
        if [m.state for m in machines] != ["running"]:
            self._fail(f"up: {[(m.id, m.state) for m in machines]}")
        volume = machines[0].block_device_mapping[DEVICE].volume_id
        if [v.id for v in world.volumes()] != [volume]:
            self._fail(f"I6: after up there are {[v.id for v in world.volumes()]}, the drive is {volume}")
        records = read_records(world.disks.volume_path(volume))
        if records != world.ledger.acknowledged:
            self._fail(f"I1: {records} came up, acknowledged is {world.ledger.acknowledged}")

    def _check_down(self) -> None:
        """I6: snapshots, and nothing else."""
        world = self.world
        left = [*world.machines(), *world.volumes(), *([world.lock()] if world.lock() else [])]
        if left:
            self._fail(f"I6: left: {left}")

    def _happen(self, what: str) -> None:
        """Something that nobody here asked for."""
        world = self.world
        running = world.machines("running")
        self.told.append(what)
        if what == "power cut" and running:
            interruption.interrupt(world.backend, running[0], 0, notice=False)
            world.clock.advance(WORK_SECONDS)
        elif what == "terminate" and running:
            instances.terminate(world.backend, running[0])
        elif what == "notice" and running:
            self._take_back(120, role=True)
        elif what == "delete lock" and world.lock():
            key_pairs.delete_key_pair(world.backend, {"KeyName": world.lock().key_name})
        elif what == "snapshot by hand":
            for volume in world.volumes()[:1]:
                pending = [s for s in world.snapshots() if s.volume_id == volume.id and s.status == "pending"]
                if volume.state in ("available", "in-use") and len(pending) < snapshots.PENDING_MAX:
                    snapshots.create_snapshot(world.backend, volume, "by hand", {"Name": world.drive})
        elif what == "wait":
            world.clock.advance(30)

    def _take_back(self, seconds: int, *, role: bool) -> None:
        machine = self.world.machines("running")[0]
        self.told.append(f"a notice to {machine.id}: {seconds} s")
        interruption.interrupt(self.world.backend, machine, seconds, notice=True)
        if role:
            self.told.append(f"  {self.world.save_itself(machine)}")
