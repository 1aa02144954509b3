"""`up`: take the drive's lock, settle what an earlier machine left, launch with the newest snapshot, wait for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from xportal.aws import storage
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle, Story
from xportal.drive.model import DEVICE
from xportal.drive.observe import observe
from xportal.errors import DriveInUse
from xportal.machine.access import Claim, new_claim
from xportal.portal.agent import AgentStatus
from xportal.portal.claiming import earlier_claim, give_up
from xportal.portal.launching import launch
from xportal.portal.money import price_of
from xportal.portal.preparing import Preparation, prepare
from xportal.portal.ready import adopt, wait_ready
from xportal.portal.saving import RemoteAgent
from xportal.portal.undo import Undo
from xportal.spec import PortalSpec


@dataclass
class UpReport:
    """What `up` did. Times in seconds, price in US dollars an hour (None: on demand)."""

    portal: str
    machine: Instance
    price: float | None
    size_gib: int
    new: bool  # whether this command launched the machine
    status: AgentStatus
    seconds: dict[str, float] = field(default_factory=dict)


def up(aws: Aws, spec: PortalSpec, story: Story) -> UpReport:
    """Bring a portal up; idempotent. Raises errors of xportal.errors, after undoing what it began.

    A machine that was launched stays, whatever comes after: it may hold work. The next `up` goes on
    with it, `down` saves and ends it.
    """
    began = time.monotonic()
    earlier = earlier_claim(observe(aws, spec.drive))
    try:
        prepared = prepare(aws, spec, mine=earlier.launch if earlier else None)
    except BaseException:
        if earlier:
            earlier.release()
        raise
    if isinstance(prepared, Preparation):
        machine = _launch_locked(aws, prepared, earlier or new_claim(), story)
    else:
        machine = adopt(aws, spec, prepared, story)
    launched = time.monotonic()
    status, seconds = wait_ready(aws, machine, story, new=isinstance(prepared, Preparation))
    return UpReport(
        portal=spec.name,
        machine=machine,
        price=price_of(machine),
        size_gib=_size_gib(aws, machine),
        new=isinstance(prepared, Preparation),
        status=status,
        seconds={"launch": launched - began, **seconds, "total": time.monotonic() - began},
    )


def _launch_locked(aws: Aws, prepared: Preparation, claim: Claim, story: Story) -> Instance:
    spec = prepared.spec
    with Undo(story.warn) as undo:
        undo.register("lock", lambda: give_up(aws, spec.drive, claim, story))
        lifecycle = Lifecycle(aws, spec.drive, portal=spec.name, agent=RemoteAgent(aws, story), story=story, lock=claim)
        action = lifecycle.settle(p.Goal.UP)
        lock = lifecycle.observed.lock
        if not isinstance(action, p.Launch) or lock is None:
            raise DriveInUse(
                f'drive "{spec.drive}" came up elsewhere in this very moment',
                hint=f"xportal up {spec.name} again uses that machine",
            )
        machine, offer = launch(aws, prepared, action, lock, claim, story)
        undo.keep()
    claim.release()
    story.say(f"machine {machine.id}: {offer}")
    return machine


def _size_gib(aws: Aws, machine: Instance) -> int:
    """Of the drive that the machine has."""
    volume_id = machine.disks.get(DEVICE)
    found = storage.list_volumes(aws, [{"Name": "volume-id", "Values": [volume_id]}]) if volume_id else []
    return found[0].size_gib if found else 0
