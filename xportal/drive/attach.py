"""A volume that outlived its machine, attached to another one in its zone: no snapshot is waited for.

A volume that somebody may have decided to delete never lives again. The order of what is done here, and the pauses, are
one half of the proof in docs/drive-protocol.md; the machine boots meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xportal.aws import compute, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.errors import AwsError
from xportal.aws.lag import wait_for_lists, wait_for_machine, wait_until_shown
from xportal.aws.records import Instance
from xportal.aws.roles import saver_of
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.choose import follow
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import MachineLost
from xportal.progress import Progress

SHOWN_SECONDS = 60.0


class NotAttached(MachineLost):
    """A volume is not to be had for the machine that was launched for it."""


def attach_drives(aws: Aws, machine: Instance, progress: Progress, beat: Callable[[], None] = lambda: None) -> Instance:
    """Attach what a running machine was launched for, and the machine as it is then. Idempotent.

    Raises NotAttached if a volume is not to be had: then the machine is empty, and `down` ends it.
    """
    if tags.AWAITS not in machine.tags:
        return machine
    wait_for_machine(aws, machine)
    names = tags.drive_names(machine.tags)
    found = {name: _look(aws, machine, name) for name in names}
    _withdraw(aws, machine, [drive for drive, action in found.values() if isinstance(action, p.Attach)])
    for _, action in found.values():
        if isinstance(action, p.Attach):
            _begin_life(aws, machine, action)
    wait_for_lists(aws)
    beat()
    for name in names:
        drive, action = _look(aws, machine, name)
        if isinstance(action, p.Attach):
            if action.volume.tags.get(tags.GENERATION) != str(action.generation) or _unsettled(drive):
                raise _lost(machine, name)
            progress.say(f"attaching {action.volume.id} of drive {name} to {machine.id}")
            _attach(aws, name, action)
            follow(aws, drive, action.generation, action.volume.id)
    delete_tag(aws, machine.id, tags.AWAITS)  # what is taken off from now on, somebody took off
    return compute.find_instance(aws, machine.id) or machine


def _look(aws: Aws, machine: Instance, name: str) -> tuple[Drive, p.Attach | p.Ready]:
    """Whether a drive can be attached, or is. Raises NotAttached."""
    drive = observe(aws, name)
    action = p.plan(drive, p.Request(p.Goal.UP, machine.tags.get(tags.PORTAL)))
    if isinstance(action, (p.Attach, p.Ready)) and action.machine.id == machine.id:
        return drive, action
    raise _lost(machine, name)


def _unsettled(drive: Drive) -> list[str]:
    """The ids of final saves of the drive's volumes by which one might be deleted."""
    return [final.id for volume in drive.volumes for final in drive.unsettled_finals(volume)]


def _withdraw(aws: Aws, machine: Instance, drives: Iterable[Drive]) -> None:
    """Take back final saves that are pending: those that the last machine made by itself as it ended.

    Nobody relies on one before it is complete. So one that is pending after AWS shows everybody that it was taken back
    never permits a deletion; it is a checkpoint from then on. Raises NotAttached if one was quicker: it stays final.
    """
    pending = {name: _unsettled(drive) for drive in drives if (name := drive.name) and _unsettled(drive)}
    if not pending:
        return
    _set_kinds(aws, pending.values(), tags.WITHDRAWN)
    wait_for_lists(aws)
    for name, ids in pending.items():
        drive = observe(aws, name)
        if any(s.state != "pending" for s in drive.snapshots if s.id in ids):
            _set_kinds(aws, pending.values(), tags.FINAL)
            raise _lost(machine, name)
    _set_kinds(aws, pending.values(), tags.CHECKPOINT)


def _set_kinds(aws: Aws, snapshots: Iterable[list[str]], kind: str) -> None:
    for ids in snapshots:
        for snapshot_id in ids:
            set_tags(aws, snapshot_id, {tags.KIND: kind})


def _begin_life(aws: Aws, machine: Instance, action: p.Attach) -> None:
    """From here on no earlier final save of the volume permits to delete it (I2): its generation and its launch are
    others.
    """
    volume = action.volume
    told = {tags.GENERATION: str(action.generation), tags.LAUNCH: action.machine.tags.get(tags.LAUNCH, "")}
    told |= {tags.SEAL: action.machine.tags.get(tags.SEAL, ""), tags.UNMOUNTED: "", tags.FOLLOWED: tags.NOBODY}
    told[tags.MACHINE] = saver_of(aws, machine)
    told |= {tags.ENDED: ""} if tags.ENDED in volume.tags else {}  # that was before this machine
    set_tags(aws, volume.id, told)


def _attach(aws: Aws, name: str, action: p.Attach) -> None:
    machine, volume = action.machine, action.volume
    device = device_of(machine, name)
    try:
        storage.attach_volume(aws, volume.id, machine.id, device or "")
    except AwsError as error:
        if error.code != "VolumeInUse":  # by an earlier attempt of ours, or by another `up`: the next look tells
            raise

    def is_attached() -> bool:
        found = compute.find_instance(aws, machine.id)
        return found is not None and found.disks.get(device or "") == volume.id

    if not wait_until_shown(aws, is_attached, SHOWN_SECONDS):
        raise _lost(machine, name)


def _lost(machine: Instance, name: str) -> NotAttached:
    portal = tags.portal_name(machine.tags)
    return NotAttached(
        f"the volume of drive {name} cannot be attached to {machine.id}",
        hint=f"xportal down {portal} ends the machine; then xportal up {portal} goes on from what there is",
    )
