"""What the actions of a plan do. Each of them is harmless when it is done again."""

from __future__ import annotations

from collections.abc import Sequence

from xportal.aws import compute, keys, storage, tags
from xportal.aws.errors import AwsError, is_forbidden
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags, set_tags_of_all
from xportal.drive import plan as p
from xportal.drive.choose import choose, follow
from xportal.drive.locks import Lock, take_lock
from xportal.drive.model import ENDING, Drive
from xportal.drive.observe import observe
from xportal.drive.snapshots import Agent, Snapshots, Stuck
from xportal.errors import MachineLost, SaveIncomplete, Unreachable
from xportal.progress import Progress


class Executor:
    """Carries out actions on one drive, on behalf of one portal."""

    def __init__(self, aws: Aws, portal: str | None, agent: Agent, progress: Progress, lock: Lock | None) -> None:
        self._aws = aws
        self._portal = portal
        self._agent = agent
        self._progress = progress
        self._lock = lock
        self._snapshots = Snapshots(aws, agent, progress)

    def carry_out(self, action: p.Action, drive: Drive, choice: str) -> None:  # noqa: C901  one case an action
        """One action, planned from the observed `drive`; `choice` as in the request.

        Raises Stuck, and what the calls to AWS raise.
        """
        match action:
            case p.TakeLock():
                if self._lock is None:
                    raise AssertionError("only a caller with a lock of its own plans to come up")
                take_lock(self._aws, drive.name, self._portal or "", self._lock)
            case p.ReleaseLock(lock, why):
                self._progress.say(f'lock of drive "{drive.name}" released: {why}')
                keys.delete_key_pair(self._aws, lock.id)
            case p.SaveOnMachine(machine, volume):
                self._save_on_machine(drive, machine, volume)
            case p.Checkpoint(machine, volume):
                self._snapshots.checkpoint(drive, machine, volume, choice)
            case p.Choose(copy, generation):
                choose(self._aws, drive, copy, generation, self._lock, self._progress)
            case p.KeepVolume(machine, volume):
                self._keep(drive, machine, volume)
            case p.Terminate(machine, at_once):
                self._progress.say(f"terminating {machine.id} ({machine.type} in {machine.zone})")
                self._terminate(drive, machine, at_once)
            case p.SnapshotVolume(volume):
                self._snapshots.final(drive, volume)
            case p.Mark(copies):
                set_tags_of_all(self._aws, [copy.id for copy in copies], {tags.MARKED: self._aws.now().isoformat()})
            case p.Prune(snapshots, why, asked):
                self._prune(snapshots, why, asked)
            case p.DeleteVolume(volume, why):
                self._progress.say(f"deleting {volume.id}: {why}")
                self._delete(drive, volume)

    def _save_on_machine(self, drive: Drive, machine: Instance, volume: Volume) -> None:
        """Tried once. If no snapshot is started: its OS flushes and unmounts as it shuts down, which stops the larger
        bill, and a snapshot of the detached volume is always right.
        """
        try:
            self._agent.save(machine, volume)
            self._snapshots.final(drive, volume, machine)
        except (MachineLost, SaveIncomplete, Stuck) as error:
            what = error.what if isinstance(error, Stuck) else error.message
            self._progress.warn(f"{what}; the machine is shut down and its drive saved afterwards")

    def _keep(self, drive: Drive, machine: Instance | None, volume: Volume) -> None:
        if drive.is_untagged(volume):
            self._progress.say(f"{volume.id} lost its tags: they are put back")
            told = {tags.NAME: drive.name, tags.OURS: "1", tags.DRIVE: drive.name}
            set_tags(self._aws, volume.id, {**told, tags.GENERATION: str(drive.generation_of(volume))})
        if machine and machine.state not in ENDING and volume.delete_on_termination:
            self._progress.say(f"{volume.id} was to be deleted with {machine.id}: switched off")
            compute.keep_volume(self._aws, machine.id, volume.device or "")

    def _keep_others(self, drive: Drive, machine: Instance) -> None:
        """The plan looks at one drive; a machine that ends takes nothing of its other drives with it either."""
        for name in tags.drive_names(machine.tags):
            if name != drive.name:
                other = observe(self._aws, name)
                for volume in other.volumes:
                    if volume.instance_id == machine.id:
                        self._keep(other, machine, volume)

    def _terminate(self, drive: Drive, machine: Instance, at_once: bool) -> None:
        self._keep_others(drive, machine)
        try:
            compute.terminate_instance(self._aws, machine.id, at_once=at_once)
        except AwsError as error:
            if error.code != "OperationNotPermitted":
                raise
            switch = f"aws ec2 modify-instance-attribute --instance-id {machine.id} --no-disable-api-termination"
            what = f"{machine.id} cannot be ended: somebody switched its termination protection on"
            raise Stuck(what, f"before it: {switch}") from error

    def _delete(self, drive: Drive, volume: Volume) -> None:
        """Once it is gone, nothing tells any more with what the drive went on after it, but its snapshots; nor that the
        drive went on with it, or that it was given up: then, unless snapshots of it are left, nobody has gone on from
        what was before it.
        """
        for snapshot in drive.snapshots:
            follower = drive.told_by_volume(snapshot) if snapshot.volume_id == volume.id else ""
            if follower and snapshot.tags.get(tags.FOLLOWED) == tags.NOBODY:
                set_tags(self._aws, snapshot.id, {tags.FOLLOWED: follower})
        if drive.is_final_started(volume):
            follow(self._aws, drive, drive.generation_of(volume), volume.id)
        storage.delete_volume(self._aws, volume.id)
        if not any(s.volume_id == volume.id for s in drive.snapshots):
            before = [s.id for s in drive.snapshots if s.tags.get(tags.FOLLOWED) == volume.id]
            try:
                # A tag of its own: an `up` may have gone on from them meanwhile, and what it says of that stays.
                set_tags_of_all(self._aws, before, {tags.GIVEN_UP: volume.id})
            except (AwsError, Unreachable) as error:
                self._progress.warn(f'a forged copy of drive "{drive.name}" might not be noticed: {error.message}')

    def _prune(self, snapshots: Sequence[Snapshot], why: str, asked: bool) -> None:
        many = "1 snapshot is" if len(snapshots) == 1 else f"{len(snapshots)} snapshots are"
        self._progress.say(f"{many} deleted: {why}")
        for snapshot in snapshots:
            try:
                storage.delete_snapshot(self._aws, snapshot.id)
            except AwsError as error:
                if error.code != "InvalidSnapshot.InUse" and (asked or not is_forbidden(error)):
                    raise
                reason = "this account may not delete it" if is_forbidden(error) else "somebody made an image of it"
                self._progress.say(f"{snapshot.id} stays: {reason}")
                # Deleting tags may be forbidden, too.
                set_tags(self._aws, snapshot.id, {tags.STAYS: reason} if asked else {tags.ROLLING: "0"})
