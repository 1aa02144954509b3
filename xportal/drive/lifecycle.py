"""Observe, plan, act, observe again: the loop that every command runs. Running it again is recovery.

What one run remembers, which machines did not answer and what was there when it began, only keeps it from doing
too much; a new run does without.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, NoReturn, Protocol

from xportal.agent.full.proofs import seal_of
from xportal.aws import compute, keys, storage, tags
from xportal.aws.errors import AwsError, is_forbidden, is_transient
from xportal.aws.lag import wait_for_lists
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags, set_tags_of_all, tag_machine
from xportal.drive import plan as p
from xportal.drive import refusals
from xportal.drive.model import ENDING, Description, Drive, LockState, described, lock_name, restored_text
from xportal.drive.observe import find_strangers, observe
from xportal.errors import MachineLost, SaveIncomplete, Unreachable

POLL_SECONDS = (0.5, 10.0)  # between two looks: the first, and the longest
HEARTBEAT_SECONDS = 60.0
SHOWN_SECONDS = 30.0
SHOWN_LATE = (p.TakeLock, p.ReleaseLock, p.Choose, p.KeepVolume, p.Terminate, p.Mark, p.DeleteVolume)  # by AWS
PATIENCE_SECONDS = 1800.0  # with a wait whose text, progress included, does not change
SNAPSHOT_RATE_SECONDS = 15.0  # AWS wants so much between two snapshots of a volume
MOST_REPEATS = 3  # of one action that should have changed what is observed


class Story(Protocol):
    """Where the lifecycle tells what it does."""

    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def update(self, text: str) -> None: ...


class Lock(Protocol):
    """The caller's claim: its launch id, its public login key, and who it is."""

    launch: str
    public_key: bytes
    holder: str


class Agent(Protocol):
    """The program on a drive's machine. Both raise MachineLost if it does not answer."""

    def save(self, machine: Instance, volume: Volume) -> None:
        """Stop everything and unmount the machine's drives for good. Raises SaveIncomplete if it could not."""

    def frozen(self, machine: Instance, volume: Volume) -> AbstractContextManager[None]:
        """A block during which nothing is written to the machine's drives; it thaws by itself in any case."""


class Heart:
    """Tells the others, while a command that holds locks waits, that their holder lives."""

    def __init__(self, aws: Aws, launch: str) -> None:
        self._aws = aws
        self._launch = launch
        self._last = time.monotonic()

    def beat(self) -> None:
        """Once a minute at most. One that fails is made up for by the next."""
        if time.monotonic() - self._last < HEARTBEAT_SECONDS:
            return
        self._last = time.monotonic()
        try:
            for lock in keys.list_key_pairs(self._aws):  # other drives of the portal may be locked already
                if lock.tags.get(tags.LAUNCH) == self._launch:
                    set_tags(self._aws, lock.id, {tags.HEARTBEAT: self._aws.now().isoformat()})
        except (AwsError, Unreachable):
            return  # a lock that was taken away shows when the holder looks at it after the launch


class Lifecycle:
    """The loop for one drive on behalf of one portal."""

    def __init__(
        self,
        aws: Aws,
        drive: str,
        *,
        portal: str | None,
        agent: Agent,
        story: Story,
        lock: Lock | None = None,
        seen: frozenset[str] | None = None,
    ) -> None:
        """`seen` is what was there when the command began (`Drive.there`); None: what the first look shows."""
        self._aws = aws
        self._drive = drive
        self._portal = portal
        self._agent = agent
        self._story = story
        self._lock = lock
        self._unreachable: frozenset[str] = frozenset()
        self._seen = seen
        self._heart = Heart(aws, lock.launch) if lock else None
        self._waiting = ("", 0.0)  # for what, since when
        self._proofs: dict[str, str] = {}  # by volume: what the final saves that this command takes show
        self.observed: Drive
        self.seconds: dict[str, float] = {}  # by action, waiting included, observing in "Observe"

    def settle(
        self,
        goal: p.Goal,
        *,
        choice: str = "",
        wait: bool = True,
        zones: frozenset[str] = frozenset(),
        until: tuple[type, ...] = (),
    ) -> p.Launch | p.Attach | p.Ready | p.Done | p.Wait:
        """Act until the plan is Launch, Attach, Ready or Done, or an action of a type in `until` would be next.

        `choice`, `wait` and `zones`: see plan.Request. Raises what Refuse carries, and SaveIncomplete when an action
        has no effect however often it is taken, or when nothing changes for PATIENCE_SECONDS.
        """
        asked = p.Request(goal, choice=choice, wait=wait, zones=zones)
        pause = POLL_SECONDS[0]
        taken: dict[str, int] = {}
        done: tuple[p.Action | None, float] = (None, 0.0)  # the last action, and until when AWS may not show it
        while True:
            with self._timed("Observe"):
                action = self.plan(asked)
            if isinstance(action, p.Refuse):
                raise action.error
            if isinstance(action, p.Launch):
                self._tell_source(action)
            if isinstance(action, (p.Launch, p.Attach, p.Ready, p.Done, *until)):
                return action  # type: ignore[return-value]
            if isinstance(action, p.Wait):
                pause = self._wait(action.text, pause)
                continue
            if action == done[0] and time.monotonic() < done[1]:
                time.sleep(POLL_SECONDS[0])
                continue
            self._count(action, taken)
            try:
                with self._timed(type(action).__name__):
                    self._tell_replaced(action, goal)
                    self._act(action, choice)
            except (AwsError, Unreachable) as error:  # its answer may be lost: the next look tells
                if not is_transient(error):
                    self._give_up(goal, error)
                if not isinstance(action, p.Checkpoint):  # for which work would be held up again and again
                    taken.clear()
                rate = isinstance(error, AwsError) and error.code == "SnapshotCreationPerVolumeRateExceeded"
                what = _kept(action, error.message)
                pause = self._wait(what, SNAPSHOT_RATE_SECONDS if rate else pause, about=type(action).__name__)
                continue
            done = (action, time.monotonic() + (SHOWN_SECONDS if isinstance(action, SHOWN_LATE) else 0.0))
            pause = POLL_SECONDS[0]

    def plan(self, asked: p.Request) -> p.Action:
        """The next action, from a fresh observation; what this run knows is added to what is `asked`."""
        drive = observe(self._aws, self._drive)
        if self._seen is None:
            self._seen = drive.there()
        self.observed = drive
        mine = self._lock.launch if self._lock else None
        known = replace(asked, portal=self._portal, mine=mine, unreachable=self._unreachable, seen=self._seen)
        return p.plan(drive, known)

    def _wait(self, text: str, pause: float, *, about: str = "") -> float:
        """Sleep, for AWS can only be asked again; how long the next time. `about` names what is waited for."""
        self._check_patience(text, about or text)
        self._story.update(text)
        if self._heart:
            self._heart.beat()
        with self._timed("Wait"):
            time.sleep(pause)
        return min(pause * 1.5, POLL_SECONDS[1])

    def _check_patience(self, text: str, about: str) -> None:
        if about != self._waiting[0]:
            self._waiting = (about, time.monotonic())
        elif time.monotonic() - self._waiting[1] > PATIENCE_SECONDS:
            what = f"{text}, for {PATIENCE_SECONDS / 60:.0f} minutes without a change"
            raise self._incomplete(what, "AWS may still work on it")

    def _give_up(self, goal: p.Goal, error: AwsError | Unreachable) -> NoReturn:
        if goal in (p.Goal.DOWN, p.Goal.SWEEP):  # a save that has begun
            raise self._incomplete(error.message, error.hint) from error
        error.billed = error.billed or self._billed()
        error.hint = "; ".join(filter(None, [error.hint, "the same command goes on from here"]))
        raise error

    def _incomplete(self, what: str, hint: str = "") -> SaveIncomplete:
        return SaveIncomplete(
            f'drive "{self._drive}": {what}; nothing is lost',
            hint=f"{self._again()}        finishes it" + (f"; {hint}" if hint else ""),
            billed=self._billed(),
        )

    def _again(self) -> str:
        """The command that finishes what this one did not."""
        return f"xportal down {self._portal}" if self._portal else "xportal sweep"

    def _billed(self) -> tuple[str, ...]:
        machines = [f"{m.id} {m.type}" for m in self.observed.machines.values() if m.state != "terminated"]
        return (*machines, *(f"{v.id} {v.size_gib} GiB" for v in self.observed.volumes))

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began

    def _count(self, action: p.Action, taken: dict[str, int]) -> None:
        name = type(action).__name__
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > MOST_REPEATS + len(self.observed.volumes):
            failed = self.observed.final_of(action.volume) if isinstance(action, p.SnapshotVolume) else None
            what = f"AWS could not finish {failed.id}" if failed else f"{name} changed nothing"
            raise self._incomplete(f"{_kept(action, what)} ({taken[name] - 1} times)")

    def _tell_replaced(self, action: p.Action, goal: p.Goal) -> None:
        """A `watch` takes what `up` ends for no person's doing."""
        if goal is p.Goal.UP and isinstance(action, p.Terminate):
            tag_machine(self._aws, action.machine.id, {tags.REPLACED: "1"})

    def _act(self, action: p.Action, choice: str) -> None:  # noqa: C901  one case an action
        match action:
            case p.TakeLock():
                self._take_lock()
            case p.ReleaseLock(lock, why):
                self._story.say(f'lock of drive "{self._drive}" released: {why}')
                keys.delete_key_pair(self._aws, lock.id)
            case p.SaveOnMachine(machine, volume):
                self._save_on_machine(machine, volume)
            case p.Checkpoint(machine, volume):
                self._checkpoint(machine, volume, choice)
            case p.Choose(copy, generation):
                self._choose(copy, generation)
            case p.KeepVolume(machine, volume):
                self._keep(self.observed, machine, volume)
            case p.Terminate(machine, at_once):
                self._story.say(f"terminating {machine.id} ({machine.type} in {machine.zone})")
                self._terminate(machine, at_once)
            case p.SnapshotVolume(volume):
                self._snapshot(volume)
            case p.Mark(copies):
                for copy in copies:
                    set_tags(self._aws, copy.id, {tags.MARKED: self._aws.now().isoformat()})
            case p.Prune(snapshots):
                self._prune(snapshots)
            case p.DeleteVolume(volume, why):
                self._story.say(f"deleting {volume.id}: {why}")
                self._delete(volume)

    def _delete(self, volume: Volume) -> None:
        """Once it is gone, nothing tells any more that the drive went on with it, or that it was given up: then, unless
        snapshots of it are left, nobody has gone on from what was before it.
        """
        drive = self.observed
        if drive.is_final_started(volume):
            follow(self._aws, drive, drive.generation_of(volume), volume.id)
        storage.delete_volume(self._aws, volume.id)
        if not any(s.volume_id == volume.id for s in drive.snapshots):
            before = [s.id for s in drive.snapshots if s.tags.get(tags.FOLLOWED) == volume.id]
            try:
                # A tag of its own: an `up` may have gone on from them meanwhile, and what it says of that stays.
                set_tags_of_all(self._aws, before, {tags.GIVEN_UP: volume.id})
            except (AwsError, Unreachable) as error:
                self._story.warn(f'a forged copy of drive "{self._drive}" might not be noticed: {error.message}')

    def _tell_source(self, launch: p.Launch) -> None:
        """What a user of the AWS console may not expect."""
        source = launch.source
        if source is None:
            self._story.say(f'drive "{self._drive}" is new: nothing is found of it')
        elif isinstance(source, Snapshot) and described(source) is None:
            self._story.say(f"going on from {source.id} of {source.started:%Y-%m-%d %H:%M:%S}, which was made by hand")
        for volume in find_strangers(self._aws, self.observed):
            self._story.warn(
                f'{volume.id} is left alone: it may hold data of drive "{self._drive}", and has no tag {tags.DRIVE}; '
                f"a snapshot of it with Name={self._drive} is the newest data for the next up"
            )

    def _keep(self, drive: Drive, machine: Instance | None, volume: Volume) -> None:
        if drive.is_untagged(volume):
            self._story.say(f"{volume.id} lost its tags: they are put back")
            told = {tags.NAME: drive.name, tags.OURS: "1", tags.DRIVE: drive.name}
            set_tags(self._aws, volume.id, {**told, tags.GENERATION: str(drive.generation_of(volume))})
        if machine and machine.state not in ENDING and volume.delete_on_termination:
            self._story.say(f"{volume.id} was to be deleted with {machine.id}: switched off")
            compute.keep_volume(self._aws, machine.id, volume.device or "")

    def _keep_others(self, machine: Instance) -> None:
        """The plan looks at one drive; a machine that ends takes nothing of its other drives with it either."""
        for name in tags.drive_names(machine.tags):
            if name != self._drive:
                other = observe(self._aws, name)
                for volume in other.volumes:
                    if volume.instance_id == machine.id:
                        self._keep(other, machine, volume)

    def _terminate(self, machine: Instance, at_once: bool) -> None:
        self._keep_others(machine)
        try:
            compute.terminate_instance(self._aws, machine.id, at_once=at_once)
        except AwsError as error:
            if error.code != "OperationNotPermitted":
                raise
            switch = f"aws ec2 modify-instance-attribute --instance-id {machine.id} --no-disable-api-termination"
            what = f"{machine.id} cannot be ended: somebody switched its termination protection on"
            raise self._incomplete(what, f"before it: {switch}") from error

    def _take_lock(self) -> None:
        if self._lock is None:
            raise AssertionError("only a caller with a lock of its own plans to come up")
        claim: Mapping[str, str] = {
            tags.DRIVE: self._drive,
            tags.PORTAL: self._portal or "",
            tags.LAUNCH: self._lock.launch,
            tags.HOLDER: self._lock.holder,
            tags.HEARTBEAT: self._aws.now().isoformat(),
        }
        name = lock_name(self._drive)
        # A rival that was quicker shows in the next observation.
        keys.import_key_pair(self._aws, name, self._lock.public_key, claim)
        _wait_until_shown(lambda: keys.find_key_pair(self._aws, name) is not None)

    def _save_on_machine(self, machine: Instance, volume: Volume) -> None:
        # Tried once. If no snapshot is started: its OS flushes and unmounts as it shuts down, which stops the larger
        # bill, and a snapshot of the detached volume is always right.
        self._unreachable |= {machine.id}
        try:
            self._agent.save(machine, volume)
            self._snapshot(volume, machine)
        except (MachineLost, SaveIncomplete) as error:
            self._story.warn(f"{error.message}; the machine is shut down and its drive saved afterwards")

    def _prune(self, snapshots: Sequence[Snapshot]) -> None:
        self._story.say(f"{len(snapshots)} rolling checkpoints are deleted: the final save has all that they have")
        for snapshot in snapshots:
            try:
                storage.delete_snapshot(self._aws, snapshot.id)
            except AwsError as error:
                if error.code != "InvalidSnapshot.InUse" and not is_forbidden(error):
                    raise
                why = "this account may not delete it" if is_forbidden(error) else "somebody made an image of it"
                self._story.say(f"{snapshot.id} stays: {why}")
                set_tags(self._aws, snapshot.id, {tags.ROLLING: "0"})  # deleting tags may be forbidden, too

    def _choose(self, copy: Volume | Snapshot, generation: int) -> None:
        before = self.observed.generation_of(copy)
        self._story.say(
            f'drive "{self._drive}" goes on from {copy.id} (generation {before}), as generation {generation}'
        )
        told = {tags.GENERATION: str(generation), tags.RESTORED: restored_text(before, self.observed.now)}
        told[tags.FOLLOWED] = tags.NOBODY
        own = {tags.NAME: self._drive, tags.DRIVE: self._drive} if isinstance(copy, Volume) else {}
        set_tags(self._aws, copy.id, {**told, **own})  # a volume may have told of several drives until now
        wait_for_lists()  # a deletion that was decided meanwhile shows then; who decides on one from now on sees this
        drive = observe(self._aws, self._drive)
        found = drive.find_copy(copy.id)
        saved = isinstance(found, Volume) and drive.unsettled_finals(found)
        going = found is None or tags.MARKED in found.tags or saved
        if going or drive.lock_state(self._lock.launch if self._lock else None) is not LockState.MINE:
            self._unchoose(copy, before)
            raise refusals.is_going(drive, copy) if going else refusals.gone_on(drive, copy)
        follow(self._aws, drive, generation, copy.id)
        for volume in drive.volumes:  # whose snapshots are yet to come
            if volume.id != copy.id:
                set_tags(self._aws, volume.id, {tags.FOLLOWED: copy.id})

    def _unchoose(self, copy: Volume | Snapshot, generation: int) -> None:
        """Take a choice back. A copy that is gone by now needs nothing."""
        try:
            set_tags(self._aws, copy.id, {tags.GENERATION: str(generation)})
            for key in (tags.RESTORED, tags.FOLLOWED):
                if key in copy.tags:
                    set_tags(self._aws, copy.id, {key: copy.tags[key]})
                else:
                    delete_tag(self._aws, copy.id, key)
        except AwsError as error:
            if error.code not in ("InvalidVolume.NotFound", "InvalidSnapshot.NotFound"):
                raise

    def _snapshot(self, volume: Volume, machine: Instance | None = None) -> None:
        """A final save, with `machine` of all its drives. CreateSnapshot has no ClientToken: one whose answer was lost
        is looked for first (I5).
        """
        drive = observe(self._aws, self._drive)
        found = drive.find_copy(volume.id)  # with what was said on it since, and not in another life of it
        known = found if isinstance(found, Volume) else volume
        if drive.is_final_started(known):
            return
        failed = drive.final_of(known)
        if failed:
            self._story.warn(f"AWS could not finish {failed.id}: {volume.id} is saved again")
        kind = {tags.KIND: tags.FINAL}
        try:
            moment = self._moment(drive, volume, machine)
            seals = {v: self._seal(v, told) for v, told in moment.items()}
            self._show(self._create_snapshots(moment, machine, kind))
            _wait_until_shown(lambda: self._are_sealed(seals))
        except AwsError as error:
            if is_transient(error):
                raise
            raise self._incomplete(_kept(p.SnapshotVolume(volume), error.message), error.hint) from error

    def _seal(self, volume_id: str, told: dict[str, str]) -> str:
        """Say on a volume that was unmounted for good what its final save shows from now on, and have it show that.

        Nobody but the account's users can tag a volume, so a final save with the proof is later than the unmount.
        """
        proof = self._proofs.setdefault(volume_id, secrets.token_urlsafe(16))
        told[tags.PROOF] = proof
        seal = seal_of(proof, told[tags.DRIVE])
        set_tags(self._aws, volume_id, {tags.UNMOUNTED: seal})
        return seal

    def _are_sealed(self, seals: Mapping[str, str]) -> bool:
        """Whether AWS shows what was said on volumes; one that is gone needs nothing."""
        found = storage.list_volumes(self._aws, [{"Name": "volume-id", "Values": list(seals)}])
        return all(v.tags.get(tags.UNMOUNTED) == seals[v.id] for v in found)

    def _checkpoint(self, machine: Instance, volume: Volume, save: str) -> None:
        moment = self._moment(self.observed, volume, machine)
        with self._agent.frozen(machine, volume):
            kind = {tags.KIND: tags.CHECKPOINT, tags.SAVE: save}
            snapshots = self._create_snapshots(moment, machine, kind)
        self._show(snapshots)

    def _moment(self, drive: Drive, volume: Volume, machine: Instance | None) -> dict[str, dict[str, str]]:
        """What is to be saved together: each volume's id, and the tags that tell which drive's it is."""
        found = {drive.name: (drive, volume)}
        for name in tags.drive_names(machine.tags) if machine else ():
            other = drive if name == drive.name else observe(self._aws, name)
            at = next((v for v in other.volumes if machine and v.instance_id == machine.id), None)
            found |= {name: (other, at)} if at else {}
        return {v.id: _tags_of(d, v) for d, v in found.values()}

    def _create_snapshots(
        self, moment: Mapping[str, Mapping[str, str]], machine: Instance | None, kind: Mapping[str, str]
    ) -> list[Snapshot]:
        drives = {told[tags.DRIVE]: int(told[tags.GENERATION]) for told in moment.values()}
        description = str(Description(drives, kind[tags.KIND]))
        if machine is None or len(moment) == 1:
            [(volume_id, told)] = moment.items()
            return [storage.create_snapshot(self._aws, volume_id, description=description, tags={**told, **kind})]
        for volume_id, told in moment.items():
            set_tags(self._aws, volume_id, told)  # the call copies them
        # The save may have taken minutes, in which somebody attached a volume or took one off.
        now = compute.find_instance(self._aws, machine.id) or machine
        made = storage.create_snapshots(
            self._aws,
            now.id,
            without=[v for d, v in now.disks.items() if v not in moment and d != now.root_device],
            description=description,
            tags={**kind, tags.SET: f"set-{secrets.token_hex(8)}"},
        )
        for snapshot in made:
            wanted = moment.get(snapshot.volume_id)
            if wanted is None:
                self._discard_strange(snapshot)
            elif not wanted.items() <= snapshot.tags.items():  # the call may copy a volume's tags as they were before
                set_tags(self._aws, snapshot.id, wanted)
        return [snapshot for snapshot in made if snapshot.volume_id in moment]

    def _discard_strange(self, snapshot: Snapshot) -> None:
        """The call takes all volumes but those that it excludes: one was attached after the machine was looked at."""
        self._story.say(f"{snapshot.volume_id} was attached meanwhile, and is none of the portal's: {snapshot.id} goes")
        try:
            storage.delete_snapshot(self._aws, snapshot.id)
        except AwsError as error:  # the drives are saved all the same
            self._story.warn(f"{snapshot.id} of {snapshot.volume_id} was taken by mistake, and stays: {error.message}")

    def _show(self, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            self._story.say(f"snapshot {snapshot.id} of {snapshot.volume_id} started")
        by_id: list[Any] = [{"Name": "snapshot-id", "Values": [s.id for s in snapshots]}]
        _wait_until_shown(lambda: len(storage.list_snapshots(self._aws, by_id)) == len(snapshots))


def follow(aws: Aws, drive: Drive, generation: int, with_: str) -> None:
    """Say on the copies before `generation` that the drive went on, with what volume or copy. Idempotent.

    See `Drive.passed_over`: it is said before anything can come after them that no user brought about.
    """
    set_tags_of_all(aws, [s.id for s in drive.to_be_followed(generation)], {tags.FOLLOWED: with_})


def _kept(action: p.Action, trouble: str) -> str:
    """What went wrong, and of a save where the data is."""
    if not isinstance(action, (p.SaveOnMachine, p.SnapshotVolume)):
        return trouble
    return f"{action.volume.id} keeps everything, and is not saved: {trouble}"


def _tags_of(drive: Drive, volume: Volume) -> dict[str, str]:
    """What a snapshot of a volume tells of itself."""
    machine = drive.machine_of(volume)
    return {
        **(tags.remembered(volume.tags) or tags.remembered(machine.tags if machine else {})),
        tags.NAME: drive.name,
        tags.OURS: "1",
        tags.DRIVE: drive.name,
        tags.GENERATION: str(drive.generation_of(volume)),
        **{key: volume.tags[key] for key in (tags.LAUNCH, tags.ARCHITECTURE) if key in volume.tags},
        tags.FOLLOWED: drive.follower_of(volume),
        **({tags.STRAY: "1"} if drive.is_stray(volume) else {}),
        **({tags.BLANK: drive.name} if tags.is_blank(volume.tags, drive.name) else {}),
    }


def _wait_until_shown(shown: Callable[[], bool]) -> None:
    """AWS may list for some seconds without what it has just made: acting on such a list would make it twice."""
    deadline = time.monotonic() + SHOWN_SECONDS
    while not shown() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS[0])
