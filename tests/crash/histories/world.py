"""A cloud whose disks are files, a drive in it, and what people and AWS may do to it beside xportal."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.crash.direct import Direct
from tests.crash.histories.clock import Clock, ticking
from tests.crash.histories.lagging import Lagging
from tests.crash.histories.laptop import Laptop, Wire
from tests.crash.histories.ledger import Copy, Ledger, Violation, append_records
from tests.crash.histories.wire import quicken
from tests.user import SECRET
from xportal.agent.core.config import AgentConfig, Paths
from xportal.agent.full.ec2 import Ec2
from xportal.agent.full.proofs import HOST_KEY
from xportal.agent.full.snapshots import plan_tags, take_snapshot
from xportal.aws import catalogue, network, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Image, Instance, Volume
from xportal.drive.model import lock_name
from xportal.errors import MachineLost, SaveIncomplete
from xportal.machine.offers import Offer
from xportal.machine.userdata import HostKey
from xportal.portal.agent import AgentStatus
from xportal.portal.up import launch as launching
from xportal.portal.up import plan as preparing
from xportal.portal.up.ready import check_ready
from xportal.sandbox.api.ec2 import instances, snapshots
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.records.instance import Instance as Machine
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware import Boot, Disk
from xportal.sandbox.hardware.files import FileHardware

_numbers = itertools.count()
USED_BYTES = 1 << 16  # of a disk, by records


class Disks(FileHardware):
    """Files as volumes. Every machine has a page cache: what is not flushed is lost with the power."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.world: World

    @property
    def _ledger(self) -> Ledger:
        return self.world.ledger

    def create_volume(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        super().create_volume(volume_id, size_gib, snapshot_id)
        self._ledger.volume_made(volume_id, snapshot_id)

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        changed = super().create_snapshot(snapshot_id, volume_id)
        self._ledger.snapshot_made(snapshot_id, volume_id)
        return changed

    def delete_volume(self, volume_id: str) -> None:
        super().delete_volume(volume_id)
        self.world.deleted(volume_id)

    def delete_snapshot(self, snapshot_id: str) -> None:
        super().delete_snapshot(snapshot_id)
        self.world.deleted(snapshot_id)

    def boot(self, boot: Boot) -> Any:
        self.world.attached |= {disk.volume_id: boot.instance_id for disk in boot.disks}
        return super().boot(boot)

    def shut_down(self, instance_id: str, deadline_s: float) -> None:
        self.world.shut_down(instance_id)
        for volume_id in self._let_go(instance_id):
            self.world.flush(volume_id)
        super().shut_down(instance_id, deadline_s)

    def cut_power(self, instance_id: str) -> None:
        for volume_id in self._let_go(instance_id):
            self._ledger.lose_unflushed(volume_id)
        super().cut_power(instance_id)

    def attach(self, instance_id: str, disk: Disk) -> None:
        self.world.attached[disk.volume_id] = instance_id
        self._ledger.attached(disk.volume_id)

    def detach(self, instance_id: str, disk: Disk) -> None:
        """Pulled out of a running machine: what its kernel holds back finds no disk."""
        self.world.attached.pop(disk.volume_id, None)
        self._ledger.lose_unflushed(disk.volume_id)

    def _let_go(self, instance_id: str) -> list[str]:
        attached = self.world.attached
        volumes = [volume_id for volume_id, holder in attached.items() if holder == instance_id]
        for volume_id in volumes:
            del attached[volume_id]
        return volumes


@dataclass(frozen=True)
class FileAgent:
    """A FAKE of the agent on a machine, as a laptop speaks to it."""

    world: World
    laptop: Laptop

    def save(self, machine: Instance, volume: Volume) -> None:
        """Flush and unmount."""
        self.laptop.ask_agent(lambda: self.world.unmount(machine, volume))

    @contextmanager
    def frozen(self, machine: Instance, volume: Volume) -> Iterator[None]:
        """Flush."""
        self.laptop.ask_agent(lambda: self.world.freeze(machine, volume))
        yield


@dataclass(frozen=True)
class Role(Ec2):
    """A FAKE of the API as the agent sees it, by its machine's role."""

    world: World

    def find_snapshot(self, volume: str, tags: dict[str, str]) -> str:
        """As the filter of the real one."""
        told = [
            s.id
            for s in self.world.snapshots()
            if s.volume_id == volume and s.status != "error" and tags.items() <= self.world.tags_of(s.id).items()
        ]
        return next(iter(told), "")

    def create_snapshot(self, volume: str, description: str, tags: dict[str, str]) -> str:
        """At once."""
        backend = self.world.backend
        return str(snapshots.create_snapshot(backend, backend.volumes[volume], description, tags).id)


@dataclass
class World:
    """The account, two laptops, and one drive at a time."""

    cloud: Cloud
    disks: Disks
    clock: Clock
    wire: Wire
    homes: Path
    drive: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    attached: dict[str, str] = field(default_factory=dict)  # volume id: the machine it is plugged into
    deaf: set[str] = field(default_factory=set)  # machines that do not answer ssh
    by_xportal: set[str] = field(default_factory=set)  # ids of what it deleted, which was right
    saves_itself: bool = False  # whether machines that are shut down take the snapshot by themselves
    strict: bool = True  # if lists do not lag: no snapshot is taken twice, and no launch fails for want of its lock
    violations: list[Violation] = field(default_factory=list)
    configs: dict[str, AgentConfig] = field(default_factory=dict)  # by launch: what its user data tell the agent
    laptops: list[Laptop] = field(init=False)

    def __post_init__(self) -> None:
        self.laptops = [
            Laptop(name, self.clock, self.wire, self.watch, lambda laptop: FileAgent(self, laptop), self.wait_ready)
            for name in ("ann", "bob")
        ]

    def begin(self, snapshot_seconds: float) -> None:
        """A new drive, in an account with nothing in it."""
        self.drive = f"drive{next(_numbers)}"
        self.ledger = Ledger()
        for what in (self.attached, self.deaf, self.by_xportal, self.violations, self.configs):
            what.clear()
        self.cloud.settings.snapshot_seconds = snapshot_seconds
        self.saves_itself = False
        for laptop in self.laptops:
            laptop.home = self.homes / self.drive / laptop.name
            laptop.lines.clear()

    def copy_files(self, directory: Path) -> None:
        """Copy the disks, of which the beginning is all that is used, and the laptops' homes."""
        for disk in self.disks.directory.glob("*/*-*"):
            target = directory / "disks" / disk.parent.name / disk.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with disk.open("rb") as source, target.open("wb") as copied:
                copied.write(source.read(USED_BYTES))
                copied.truncate(disk.stat().st_size)
        for laptop in self.laptops:
            if laptop.home.exists():
                shutil.copytree(laptop.home, directory / laptop.name)

    def move_to(self, directory: Path) -> None:
        """Go on with copies that `copy_files` made."""
        self.disks.directory = directory / "disks"
        for kind in ("volumes", "snapshots"):
            (self.disks.directory / kind).mkdir(parents=True, exist_ok=True)
        for laptop in self.laptops:
            laptop.home = directory / laptop.name

    def end(self) -> None:
        """Empty the account."""
        self.cloud.clear_faults()
        self.clock.forget()
        backend = self.backend
        for records in (backend.volumes, self._snapshots(), backend.key_pairs, backend.spot_instance_requests):
            for record_id in list(records):
                backend.forget(records, record_id)
        backend.snapshots = {s.id: s for s in backend.snapshots.values() if s.owner_id != DEFAULT_ACCOUNT_ID}
        backend.reservations.clear()
        for path in self.disks.directory.glob("*/*-*"):
            path.unlink()

    # What is there, asked of the cloud's own records

    @property
    def backend(self) -> Ec2Backend:
        """The region."""
        found = ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        assert isinstance(found, Ec2Backend)
        return found

    def _snapshots(self) -> dict[str, Any]:
        return {s.id: s for s in self.backend.snapshots.values() if s.owner_id == DEFAULT_ACCOUNT_ID}

    def tags_of(self, record_id: str) -> dict[str, str]:
        """The tags of anything."""
        return dict(self.backend.tags.get(record_id, {}))

    def machines(self, *states: str) -> list[Machine]:
        """The drive's machines in these states; without states all that are not terminated."""
        found = [i for i in instances.all_instances(self.backend) if self.tags_of(i.id).get(tags.DRIVE) == self.drive]
        return [i for i in found if (i.state in states if states else i.state != "terminated")]

    def volumes(self) -> list[Any]:
        """All volumes that are disks and not on their way out."""
        return [v for v in self.backend.volumes.values() if v.stored and v.state != "deleting"]

    def offered(self) -> list[Copy]:
        """The drive's copies, the newest last, but for a volume that AWS is deleting with its machine."""
        stay = {record.id for record in (*self.volumes(), *self.snapshots())}
        return sorted((c for c in self.ledger.counted() if c.id in stay), key=lambda c: c.place)

    def snapshots(self) -> list[Any]:
        """All snapshots of the account."""
        return list(self._snapshots().values())

    def lock(self) -> Any:
        """The drive's key pair, or None."""
        return self.backend.key_pairs.get(lock_name(self.drive))

    def completed(self) -> set[str]:
        """Ids of the snapshots that are complete and stay."""
        return {s.id for s in self.snapshots() if s.status == "completed" and not s.deletion_asked}

    # What the machine does

    def user_data(self, config: AgentConfig, host_key: HostKey) -> bytes:
        """What a launch tells its machine."""
        self.configs[config.launch] = config
        key = self.paths_of(config.launch).root / HOST_KEY
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_text(host_key.private)
        return f"#cloud-config\n# {config.launch}\n".encode()

    def paths_of(self, launch: str) -> Paths:
        """The root disk of a launch's machine, of which only the host key is there."""
        return Paths(self.disks.directory / "roots" / launch)

    def wait_ready(self, machine: Instance) -> None:
        """A FAKE of ssh and the agent's answer."""
        if machine.id in self.deaf:
            raise MachineLost(f"{machine.id} does not answer")
        volume = machine.disks.get(DEVICE)
        phase = "failed" if volume is None else "saved" if volume in self.ledger.unmounted else "ready"
        check_ready(machine, AgentStatus(phase, None, None, None, (), ()))

    def unmount(self, machine: Instance, volume: Volume) -> None:
        """Flush, and write no more."""
        self._check_answers(machine, volume)
        self.flush(volume.id)
        self.ledger.unmounted.add(volume.id)

    def save_itself(self, machine: Machine, save: str = "notice", *, role: bool = True) -> str:
        """A FAKE of the agent's save at a notice or a shutdown: unmount, then, with its role, the snapshot. The words
        of that are the agent's own.

        What it did.
        """
        volume_id = self.mounted(machine)
        if volume_id is None:
            return "it has no drive to save"
        self.flush(volume_id)
        self.ledger.unmounted.add(volume_id)
        return self._snapshot_itself(machine, volume_id, save, "final") if role else "it has no role"

    def shut_down(self, instance_id: str) -> None:
        """The OS of a machine is shut down, by whomever."""
        machine = instances.find_instance(self.backend, instance_id)
        if machine and self.saves_itself:
            self.save_itself(machine, "shutdown")

    def roll(self, machine: Machine) -> str:
        """A FAKE of a rolling checkpoint, which a machine takes while the work goes on; its id."""
        volume_id = self.mounted(machine) or ""
        self.flush(volume_id)
        taken = self._snapshot_itself(machine, volume_id, f"rolling-{self.clock.monotonic():.0f}", "rolling")
        self.ledger.copies[taken].rolling = True
        return taken

    def _snapshot_itself(self, machine: Machine, volume_id: str, save: str, kind: str) -> str:
        config = self.configs[self.tags_of(machine.id)[tags.LAUNCH]]
        drive = {"name": config.main.name, "generation": config.main.generation, "volume_id": volume_id}
        try:
            return take_snapshot(Role(self), drive, plan_tags(config, drive, save, kind, self.paths_of(config.launch)))
        except ApiError as error:
            return f"no snapshot: {error}"

    def freeze(self, machine: Instance, volume: Volume) -> None:
        """Flush."""
        self._check_answers(machine, volume)
        if volume.id in self.ledger.unmounted:
            raise SaveIncomplete(f"{volume.id} is not mounted on {machine.id} any more")
        self.flush(volume.id)

    def _check_answers(self, machine: Instance, volume: Volume) -> None:
        """It may have gone since the caller looked."""
        if machine.id in self.deaf or self.attached.get(volume.id) != machine.id:
            raise MachineLost(f"{machine.id} does not answer")

    def working_volume(self) -> str | None:
        """The volume that a program on a machine can write to, if one runs."""
        return next(filter(None, map(self.mounted, self.machines("running"))), None)

    def mounted(self, machine: Machine) -> str | None:
        """The drive on a machine that runs, until it is unmounted."""
        attachment = machine.block_device_mapping.get(DEVICE)
        volume_id = str(attachment.volume_id) if attachment else ""
        mounted = self.attached.get(volume_id) == machine.id and volume_id not in self.ledger.unmounted
        return volume_id if mounted else None

    def flush(self, volume_id: str) -> None:
        """fsync: on the disk, and so acknowledged."""
        append_records(self.disks.volume_path(volume_id), self.ledger.flush(volume_id))

    # What may not be

    def watch(self, laptop: Laptop, operation: str, parameters: dict[str, str]) -> None:
        """Look at a call before its effect."""
        try:
            if operation == "CreateSnapshot" and tags.FINAL in parameters.values():
                self._check_once(laptop, parameters["VolumeId"])
            if operation in ("DeleteVolume", "DeleteSnapshot"):
                copy_id = parameters[operation.removeprefix("Delete") + "Id"]
                self._check_deletion(laptop, copy_id)
                if copy_id in self.attached:  # meanwhile, by another: AWS refuses
                    self.by_xportal.discard(copy_id)
            elif operation == "TerminateInstances":
                for volume_id in self._taken_along(parameters["InstanceId.1"]):
                    self._check_deletion(laptop, volume_id)
            elif operation == "CreateTags":
                self._tagged(parameters["ResourceId.1"], set(parameters.values()))
            elif operation == "DeleteTags" and tags.RESTORED in parameters.values():
                self.ledger.taken_back(parameters["ResourceId.1"])
            elif operation == "RunInstances" and _makes_blank(parameters) and self.strict:
                self.ledger.check_blank()
        except Violation as violation:
            self.violations.append(violation)

    def _tagged(self, record_id: str, told: set[str]) -> None:
        """A copy gets tags: it is chosen or marked, or a volume is about to be attached to a new machine."""
        if tags.MARKED in told and record_id in self.ledger.copies:
            copy = self.ledger.copies[record_id]
            copy.marked = len(copy.records) if copy.marked is None else copy.marked
        if tags.RESTORED in told and record_id in self.ledger.copies:
            self.ledger.restored(record_id)
        elif tags.GENERATION in told and record_id in self.ledger.copies:
            self.ledger.copies[record_id].life += 1

    def _check_once(self, laptop: Laptop, volume_id: str) -> None:
        """I5: one final snapshot of a volume, as long as none failed. A rival may be quicker by a few calls, not more:
        CreateSnapshot takes no ClientToken.
        """
        if volume_id not in self.ledger.copies or not self.strict:  # a rival was quicker, and is done with it
            return
        life = self.ledger.copies[volume_id].life
        finals = [
            s.id
            for s in self.snapshots()
            if s.volume_id == volume_id
            and s.outcome != "error"
            and self.tags_of(s.id).get(tags.KIND) == tags.FINAL
            and self.tags_of(s.id).get(tags.LAUNCH) == self.tags_of(volume_id).get(tags.LAUNCH)  # else it is none
            and self.ledger.copies[s.id].life == life
        ]
        raced = laptop.raced_at is not None and laptop.calls - laptop.raced_at < 6
        if finals and not raced:
            raise Violation(f"I5: one more final snapshot of {volume_id} after {finals}")

    def _check_deletion(self, laptop: Laptop, copy_id: str) -> None:
        copy = self.ledger.copies.get(copy_id)
        gone = copy is None and copy_id not in self.backend.volumes  # another was quicker
        given_up = copy is not None and (copy_id, copy.attachments) == laptop.gives_up
        if gone or (given_up and copy and copy.marked in (None, len(copy.records))):
            return
        self.ledger.check_deletion(copy_id, self.completed())
        self.by_xportal.add(copy_id)

    def _taken_along(self, instance_id: str) -> list[str]:
        """The disks that would go with a machine."""
        machine = instances.find_instance(self.backend, instance_id)
        return [a.volume_id for a in machine.disks if a.delete_on_termination] if machine else []

    def deleted(self, copy_id: str) -> None:
        """The bytes are gone. If no call of xportal's did it, somebody destroyed them: what is left counts."""
        self.ledger.gone(copy_id)
        if copy_id not in self.by_xportal:
            self.ledger.settle_for_newest()


def _makes_blank(parameters: dict[str, str]) -> bool:
    """Whether a launch makes a drive that is restored from nothing."""
    return DEVICE in parameters.values() and not any(key.endswith("Ebs.SnapshotId") for key in parameters)


@contextmanager
def open_world(directory: Path, *, lagging: bool = False) -> Iterator[World]:
    """A cloud that goes by a virtual clock, its lists `lagging` behind or not. Its catalogue never changes, so the
    commands ask for it once.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    disks = Disks(directory / "disks")
    settings = Settings(invisible_seconds=0, mapping_seconds=0.02, iam_seconds=0)
    with (
        pytest.MonkeyPatch.context() as patch,
        Cloud(disks, settings=settings, secret=SECRET) as cloud,
        ticking(cloud) as clock,
    ):
        patch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
        find_offers = _once(preparing._find_offers, lambda spec: spec.machine)
        patch.setattr(preparing, "_find_offers", lambda aws, spec: _as_ranked_by(aws, *find_offers(aws, spec)))
        patch.setattr(catalogue, "list_instance_types", _once(catalogue.list_instance_types, tuple))
        patch.setattr(network, "list_default_subnets", _once(network.list_default_subnets))
        quicken(patch)
        patch.setattr(launching, "_find_profile", lambda *_: None)
        direct = Direct(cloud.application(), clock.http_date)
        late = Lagging(direct, clock) if lagging else None
        if late:
            clock.worked = late.note
        world = disks.world = World(cloud, disks, clock, late or direct, directory / "homes")
        patch.setattr(launching, "build", world.user_data)
        world.begin(1)
        world.laptops[0].up(world.drive)  # asks for the catalogue, so that every history makes the same calls
        world.end()
        yield world


def _as_ranked_by(aws: Any, offers: list[Offer], image: Image) -> tuple[list[Offer], Image]:
    """Prices move: two who ask at different moments rank the offers differently."""
    return (offers if aws.laptop.name == "ann" else offers[::-1]), image


def _once(question: Callable[..., Any], key: Callable[[Any], Any] = str) -> Callable[..., Any]:
    """The question, asked of AWS once for each key of its second argument."""
    answers: dict[Any, Any] = {}

    def ask(aws: Any, about: Any = "") -> Any:
        if key(about) not in answers:
            answers[key(about)] = question(aws, about) if about else question(aws)
        return answers[key(about)]

    return ask
