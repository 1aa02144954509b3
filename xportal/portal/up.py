"""`up`: take the drive's lock, settle what an earlier machine left, launch with the newest snapshot, wait for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial

from xportal.aws.records import Instance, KeyPair
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Agent, Lifecycle, Story
from xportal.drive.observe import observe
from xportal.errors import DriveInUse
from xportal.machine.access import Claim, new_claim
from xportal.portal.agent import AgentStatus
from xportal.portal.claiming import earlier_claim, give_up
from xportal.portal.launching import launch
from xportal.portal.money import price_of
from xportal.portal.preparing import DrivePlan, Preparation, prepare
from xportal.portal.ready import AwakeDrive, adopt, awake_drives, wait_ready
from xportal.portal.undo import Undo
from xportal.spec import PortalSpec


@dataclass
class UpReport:
    """What `up` did. Times in seconds, price in US dollars an hour (None: on demand)."""

    portal: str
    machine: Instance
    price: float | None
    drives: list[AwakeDrive]
    new: bool  # whether this command launched the machine
    status: AgentStatus
    seconds: dict[str, float] = field(default_factory=dict)


def up(aws: Aws, spec: PortalSpec, story: Story, agent: Agent) -> UpReport:
    """Bring a portal up; idempotent. Raises errors of xportal.errors, after undoing what it began.

    A machine that was launched stays, whatever comes after: it may hold work. The next `up` goes on
    with it, `down` saves and ends it.
    """
    began = time.monotonic()
    machine, new = find_or_launch(aws, spec, story, agent)
    launched = time.monotonic()
    status, seconds = wait_ready(aws, machine, story, new=new)
    return UpReport(
        portal=spec.name,
        machine=machine,
        price=price_of(machine),
        drives=awake_drives(aws, machine),
        new=new,
        status=status,
        seconds={"launch": launched - began, **seconds, "total": time.monotonic() - began},
    )


def find_or_launch(aws: Aws, spec: PortalSpec, story: Story, agent: Agent) -> tuple[Instance, bool]:
    """The portal's machine, running, and whether it was launched just now."""
    earlier = _earlier_claim(aws, spec)
    try:
        prepared = prepare(aws, spec, mine=earlier.launch if earlier else None)
    except BaseException:
        if earlier:
            earlier.release()
        raise
    if isinstance(prepared, Preparation):
        return _launch_locked(aws, prepared, earlier or new_claim(), story, agent), True
    if earlier:
        earlier.release()
    return adopt(aws, spec, prepared, story), False


def _earlier_claim(aws: Aws, spec: PortalSpec) -> Claim | None:
    names = [drive.name for drive in spec.drives] or [spec.name]
    return next((claim for name in sorted(names) if (claim := earlier_claim(observe(aws, name)))), None)


def _launch_locked(aws: Aws, prepared: Preparation, claim: Claim, story: Story, agent: Agent) -> Instance:
    """All drives or none: their locks are taken in the order of their names, so that no two wait for each other."""
    spec = prepared.spec
    drives: dict[str, DrivePlan] = {}
    locks: list[KeyPair] = []
    with Undo(story.warn) as undo:
        for planned in sorted(prepared.drives, key=lambda d: d.name):
            undo.register("lock", partial(give_up, aws, planned.name, claim, story))
            lifecycle = Lifecycle(aws, planned.name, portal=spec.name, agent=agent, story=story, lock=claim)
            action = lifecycle.settle(p.Goal.UP)
            lock = lifecycle.observed.lock
            if not isinstance(action, p.Launch) or lock is None:
                raise DriveInUse(
                    f'drive "{planned.name}" came up elsewhere in this very moment',
                    hint=f"xportal up {spec.name} again uses that machine",
                )
            locks.append(lock)
            size = max(planned.size_gib, action.source.size_gib if action.source else 0)
            drives[planned.name] = replace(planned, source=action.source, generation=action.generation, size_gib=size)
        ordered = [drives[planned.name] for planned in prepared.drives]
        machine, offer = launch(aws, prepared, ordered, locks, claim, story)
        undo.keep()
    claim.release()
    story.say(f"machine {machine.id}: {offer}")
    return machine
