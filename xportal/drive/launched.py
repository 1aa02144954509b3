"""Copies that a launch made: they become the drives, or they go. Two commands may want the one and the other (I3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xportal.aws import compute, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.lag import is_shown, wait_for_lists
from xportal.aws.records import Instance, Volume
from xportal.aws.roles import saver_of
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags, tag_machine
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
    """End a machine that its holder did not confirm, and delete its copies of the drives: their sources are there.

    False if another `up` took it over: then it is left alone. The mark comes first, and the look twice AWS's lag later;
    who takes it over says so first, and then looks for the mark (see `confirm`). So one of the two sees the other.
    """
    tag_machine(aws, instance.id, {tags.MARKED: aws.now().isoformat(), tags.REPLACED: "1"})
    marked: dict[str, float] = {}  # copies: since when
    _mark(aws, _copies(aws, made), marked)
    wait_for_lists(aws)
    found, copies = compute.find_instance(aws, instance.id), _copies(aws, made)
    if any(tags.GENERATION in volume.tags for volume in copies) or (found and _has_volumes(found, made)):
        return False
    compute.terminate_instance(aws, instance.id, at_once=True)  # at a shutdown its agent would save
    _wait_until_terminated(aws, instance, beat)
    _disown_saves(aws, list(marked))
    deadline = aws.clock.monotonic() + GONE_SECONDS
    while (copies := _copies(aws, made)) and aws.clock.monotonic() < deadline:
        _mark(aws, copies, marked)
        for volume in copies:
            untaken = tags.GENERATION not in volume.tags and is_shown(aws, marked[volume.id])
            if volume.state == "available" and untaken:
                storage.delete_volume(aws, volume.id)
        beat()
        aws.clock.sleep(POLL_SECONDS)
    return True


def _mark(aws: Aws, copies: Sequence[Volume], marked: dict[str, float]) -> None:
    for volume in copies:
        if volume.id not in marked:
            set_tags(aws, volume.id, {tags.MARKED: aws.now().isoformat()})
            marked[volume.id] = aws.clock.monotonic()


def _disown_saves(aws: Aws, volume_ids: list[str]) -> None:
    """What the machine saved by itself meanwhile counts less than what the drive went on with."""
    by_volume: list[Any] = [{"Name": "volume-id", "Values": volume_ids}]
    for snapshot in storage.list_snapshots(aws, by_volume) if volume_ids else ():
        set_tags(aws, snapshot.id, {tags.STRAY: "1"})


def _has_volumes(machine: Instance, made: LaunchedCopies) -> bool:
    """Whether somebody attached the volumes that a machine was launched for."""
    return bool(made.awaits) and (tags.AWAITS not in machine.tags or any(d in machine.disks for d in made.awaits))


def _copies(aws: Aws, made: LaunchedCopies) -> list[Volume]:
    """The volumes that a launch made of its sources, root disks aside."""
    found = storage.list_volumes(aws, tags.tag_filter(launch=made.launch))
    return [v for v in found if v.snapshot_id in made.sources and v.state != "deleting"]


def _wait_until_terminated(aws: Aws, instance: Instance, beat: Callable[[], None]) -> None:
    if compute.wait_for_instance(aws, instance.id, lambda found: found.state == "terminated", GONE_SECONDS, beat):
        return
    raise MachineLost(
        f"{instance.id} was ended, and is not terminated after {GONE_SECONDS:.0f} s",
        hint="the AWS console shows what it does; xportal down ends what is left",
        billed=(f"{instance.id} {instance.type}",),
    )
