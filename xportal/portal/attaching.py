"""A volume that outlived its machine, attached to another one in its zone: no snapshot is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from xportal.aws import compute, storage, tags
from xportal.aws.devices import device_of
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.lifecycle import Story
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import MachineLost

POLL_SECONDS = 0.5
SHOWN_SECONDS = 60.0


def attach_drives(aws: Aws, machine: Instance, story: Story) -> Instance:
    """Attach what a running machine was launched for, and the machine as it is then. Idempotent.

    Raises MachineLost if a volume is not to be had: then the machine is empty, and `down` ends it.
    """
    if tags.AWAITS not in machine.tags:
        return machine
    for name in tags.drive_names(machine.tags):
        drive = observe(aws, name)
        action = p.plan(p.Goal.UP, drive, portal=machine.tags.get(tags.PORTAL))
        if isinstance(action, p.Attach):
            story.say(f"attaching {action.volume.id} of drive {name} to {machine.id}")
            _raise_generation(aws, drive, action)
            _attach(aws, name, action)
        elif not isinstance(action, p.Ready):
            raise _lost(machine, name)
    delete_tag(aws, machine.id, tags.AWAITS)  # what is taken off from now on, somebody took off
    return compute.find_instance(aws, machine.id) or machine


def _raise_generation(aws: Aws, drive: Drive, action: p.Attach) -> None:
    """From here on no earlier final save of the volume permits to delete it (I2): neither by its generation, nor by
    its kind, should somebody edit the volume's tags.
    """
    volume = action.volume
    for final in (s for s in drive.snapshots if s.volume_id == volume.id and s.tags.get(tags.KIND) == tags.FINAL):
        set_tags(aws, final.id, {tags.KIND: tags.CHECKPOINT})
    told = {tags.GENERATION: str(action.generation), tags.LAUNCH: action.machine.tags.get(tags.LAUNCH, "")}
    told |= {tags.ENDED: ""} if tags.ENDED in volume.tags else {}  # that was before this machine
    set_tags(aws, volume.id, told)
    by_id = [{"Name": "volume-id", "Values": [volume.id]}]

    def is_shown() -> bool:
        return any(v.tags.get(tags.GENERATION) == str(action.generation) for v in storage.list_volumes(aws, by_id))

    if not _wait_until(is_shown):
        raise MachineLost(f"AWS does not show the new tags of {volume.id}", hint="the same command tries again")


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

    if not _wait_until(is_attached):
        raise _lost(machine, name)


def _lost(machine: Instance, name: str) -> MachineLost:
    portal = tags.portal_name(machine.tags)
    return MachineLost(
        f"the volume of drive {name} cannot be attached to {machine.id}",
        hint=f"xportal down {portal} ends the machine; then xportal up {portal} goes on from what there is",
    )


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SHOWN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)  # AWS can only be asked again
    return True
