"""Taking snapshots of a drive: final saves with their proof, and checkpoints; of several drives as of one moment."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from xportal.agent.full.proofs import seal_of
from xportal.aws import compute, storage, tags
from xportal.aws.errors import AwsError, is_transient
from xportal.aws.lag import wait_until_shown
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive.made import Description
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.progress import Progress


class Agent(Protocol):
    """The program on a drive's machine. Both raise MachineLost if it does not answer."""

    def save(self, machine: Instance, volume: Volume) -> None:
        """Stop everything and unmount the machine's drives for good. Raises SaveIncomplete if it could not."""

    def frozen(self, machine: Instance, volume: Volume) -> AbstractContextManager[None]:
        """A block during which nothing is written to the machine's drives; it thaws by itself in any case."""


class Stuck(Exception):
    """An action that cannot be carried out, whatever is tried again: what is the matter, and what the user can do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Snapshots:
    """Those that one command takes."""

    def __init__(self, aws: Aws, agent: Agent, progress: Progress) -> None:
        self._aws = aws
        self._agent = agent
        self._progress = progress
        self._proofs: dict[str, str] = {}  # by volume: what the final saves that this command takes show

    def final(self, drive: Drive, volume: Volume, machine: Instance | None = None) -> None:
        """A final save, with `machine` of all its drives. CreateSnapshot has no ClientToken: one whose answer was lost
        is looked for first (I5).

        Raises Stuck if AWS refuses it.
        """
        drive = observe(self._aws, drive.name)
        found = drive.find_copy(volume.id)  # with what was said on it since, and not in another life of it
        known = found if isinstance(found, Volume) else volume
        if drive.is_final_started(known):
            return
        failed = drive.final_of(known)
        if failed:
            self._progress.warn(f"AWS could not finish {failed.id}: {volume.id} is saved again")
        kind = {tags.KIND: tags.FINAL}
        try:
            moment = self._moment(drive, volume, machine)
            seals = {v: self._seal(v, told) for v, told in moment.items()}
            self._show(self._create_snapshots(moment, machine, kind))
            wait_until_shown(self._aws, lambda: self._are_sealed(seals))
        except AwsError as error:
            if is_transient(error):
                raise
            raise Stuck(f"{volume.id} keeps everything, and is not saved: {error.message}", error.hint) from error

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

    def checkpoint(self, drive: Drive, machine: Instance, volume: Volume, save: str) -> None:
        """Of all drives of the machine, while nothing is written to them; `save` is the id by which it is found.

        Raises MachineLost, SaveIncomplete if they cannot be frozen.
        """
        moment = self._moment(drive, volume, machine)
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
        self._progress.say(
            f"{snapshot.volume_id} was attached meanwhile, and is none of the portal's: {snapshot.id} goes"
        )
        try:
            storage.delete_snapshot(self._aws, snapshot.id)
        except AwsError as error:  # the drives are saved all the same
            self._progress.warn(
                f"{snapshot.id} of {snapshot.volume_id} was taken by mistake, and stays: {error.message}"
            )

    def _show(self, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            self._progress.say(f"snapshot {snapshot.id} of {snapshot.volume_id} started")
        by_id: list[Any] = [{"Name": "snapshot-id", "Values": [s.id for s in snapshots]}]
        wait_until_shown(self._aws, lambda: len(storage.list_snapshots(self._aws, by_id)) == len(snapshots))


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
