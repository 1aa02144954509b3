"""Copies that a launch made: they become the drives, or they go. Two commands may want the one and the other (I3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xportal.aws import compute, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.lag import is_shown
from xportal.aws.records import Instance
from xportal.aws.roles import saver_of
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags, tag_machine
from xportal.drive import plan as p
from xportal.errors import MachineGone, MachineLost

POLL_SECONDS = 1.0
GONE_SECONDS = 300.0  # that a machine has to end, and its copies to be let go


@dataclass(frozen=True)
class LaunchedCopies:
    """What a launch made, or its machine awaits."""

    launch: str
    sources: frozenset[str | None]  # ids of the snapshots that its copies are made of; None: blank
    awaits: tuple[str, ...] = ()  # the devices of volumes that are to be attached to its machine


def confirm(aws: Aws, instance: Instance, generations: Mapping[str, int]) -> None:
    """Say that what a machine has at its devices are the drives. Raises MachineGone if it is being discarded.

    Whoever discards it has marked it before, and looks for what is said here after that (see `discard`).
    """
    tag_drives(aws, instance, generations)
    found = compute.find_instance(aws, instance.id)
    disks = [v for device, v in instance.disks.items() if device != instance.root_device]
    there = storage.list_volumes(aws, [{"Name": "volume-id", "Values": disks}]) if disks else []
    if (found and tags.MARKED in found.tags) or any(tags.MARKED in volume.tags for volume in there):
        raise MachineGone(
            f"{instance.id} is being ended by the command that launched it, which had lost its lock",
            hint="the same command tries again",
        )


def tag_drives(aws: Aws, instance: Instance, generations: Mapping[str, int]) -> None:
    """What RunInstances cannot put on each drive alone (I5); lost, it is derived from the snapshot. The root disk is
    no drive: without the tag, backups that copy tags are none either.
    """
    drives = {device_of(instance, name): name for name in generations}
    for device, volume_id in instance.disks.items():
        if device in drives:
            name = drives[device]
            own = {tags.DRIVE: name, tags.NAME: name, tags.GENERATION: str(generations[name])}
            set_tags(aws, volume_id, {**own, tags.MACHINE: saver_of(aws, instance)})
        elif device == instance.root_device:
            delete_tag(aws, volume_id, tags.DRIVE)


def discard(aws: Aws, instance: Instance, made: LaunchedCopies, beat: Callable[[], None]) -> bool:
    """End a machine that its holder did not confirm, and delete its copies of the drives: see `plan.plan_unconfirmed`.

    False if another `up` took it over: then it is left alone. Raises MachineLost if it does not end.
    """
    tag_machine(aws, instance.id, {tags.MARKED: aws.now().isoformat(), tags.REPLACED: "1"})
    marked = {instance.id: aws.clock.monotonic()}  # since when
    last: type[p.Action] | None = None
    deadline = 0.0
    while True:
        found = _observe(aws, instance, made, marked)
        action = p.plan_unconfirmed(found)
        if isinstance(action, (p.Ready, p.Done)):
            return isinstance(action, p.Done)
        if type(action) is not last:
            last, deadline = type(action), aws.clock.monotonic() + GONE_SECONDS
        elif aws.clock.monotonic() > deadline:
            if found.machine.state == "terminated":
                return True  # what is left of its copies bears the mark
            raise _not_terminated(instance)
        _carry_out(aws, action, marked)
        beat()
        aws.clock.sleep(POLL_SECONDS)


def _observe(aws: Aws, instance: Instance, made: LaunchedCopies, marked: Mapping[str, float]) -> p.Unconfirmed:
    machine = compute.find_instance(aws, instance.id) or instance
    copies = [
        volume
        for volume in storage.list_volumes(aws, tags.tag_filter(launch=made.launch))
        if volume.snapshot_id in made.sources and volume.state != "deleting"
    ]
    by_volume: list[Any] = [{"Name": "volume-id", "Values": [volume.id for volume in copies]}]
    saves = storage.list_snapshots(aws, by_volume) if copies and machine.state == "terminated" else []
    attached = bool(made.awaits) and (
        tags.AWAITS not in machine.tags or any(device in machine.disks for device in made.awaits)
    )
    shown = {id_: is_shown(aws, since) for id_, since in marked.items()}
    return p.Unconfirmed(machine, tuple(copies), tuple(saves), attached, shown)


def _carry_out(aws: Aws, action: p.Action, marked: dict[str, float]) -> None:
    match action:
        case p.Mark(copies):
            for copy in copies:
                set_tags(aws, copy.id, {tags.MARKED: aws.now().isoformat()})
                marked[copy.id] = aws.clock.monotonic()
        case p.Terminate(machine, at_once):  # at a shutdown its agent would save
            compute.terminate_instance(aws, machine.id, at_once=at_once)
        case p.Disown(snapshots):
            for snapshot in snapshots:
                set_tags(aws, snapshot.id, {tags.STRAY: "1"})
        case p.DiscardCopies(copies):
            for volume in copies:
                storage.delete_volume(aws, volume.id)


def _not_terminated(instance: Instance) -> MachineLost:
    return MachineLost(
        f"{instance.id} was ended, and is not terminated after {GONE_SECONDS:.0f} s",
        hint="the AWS console shows what it does; xportal down ends what is left",
        billed=(f"{instance.id} {instance.type}",),
    )
