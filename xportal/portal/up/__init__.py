"""`up`: take the drive's lock, settle what an earlier machine left, launch with the newest snapshot, wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from xportal.aws import tags
from xportal.aws.lag import wait_for_lists
from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import tag_machine
from xportal.drive import plan as p
from xportal.drive.attach import NotAttached, attach_drives
from xportal.drive.choose import follow
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.locks import Heart
from xportal.drive.observe import observe
from xportal.drive.snapshots import Agent
from xportal.errors import DriveInUse, GoingDown, NoCapacity
from xportal.machine.access import Claim, new_claim
from xportal.machine.launch import DriveOrder
from xportal.machine.offers import Offer, surplus_of, surplus_text
from xportal.portal.claims import earlier_claim, give_up
from xportal.portal.down import down
from xportal.portal.endings import Ends
from xportal.portal.prices import price_of
from xportal.portal.remember import remember
from xportal.portal.reporting import agent_report, machine_report
from xportal.portal.retry import until_capacity
from xportal.portal.up.launch import launch_machine
from xportal.portal.up.plan import Preparation, prepare
from xportal.portal.up.ready import adopt, awake_drives, wait_ready
from xportal.progress import Progress
from xportal.reports import UpReport, UpSecondsReport
from xportal.spec import PortalSpec
from xportal.undo import Undo


def up(
    aws: Aws,
    spec: PortalSpec,
    progress: Progress,
    agent: Agent,
    *,
    waits: Iterator[float] | None = None,
    ends: Ends | None = None,
) -> UpReport:
    """Bring a portal up; idempotent. Raises errors of xportal.errors, after undoing what it began.

    A `down` that broke off is finished first; one that comes while this is at work has the last word: GoingDown.
    `ends` are those that came before; None: those of now. With `waits` it tries again after so many seconds each time,
    until there is capacity.

    A machine that was launched stays, whatever comes after: it may hold work. The next `up` goes on
    with it, `down` saves and ends it.
    """
    began = aws.clock.monotonic()
    ends = ends or Ends(spec.name)
    launching = partial(find_or_launch, aws, spec, progress, agent, ends)
    machine, new = until_capacity(launching, progress, waits, aws.clock) if waits else launching()
    launched = aws.clock.monotonic()
    remember(aws, machine, spec, progress)
    try:
        status, done, seconds = wait_ready(aws, spec, machine, progress, new=new)
    except GoingDown as error:
        ends.look(observe(aws, name) for name in tags.drive_names(machine.tags))
        progress.say(f"{error.message}: finishing that, then it comes up again")
        down(aws, spec.name, progress, agent)
        return up(aws, spec, progress, agent, waits=waits)  # that was an end, too
    return UpReport(
        portal=spec.name,
        machine=machine_report(machine),
        price=price_of(machine),
        drives=awake_drives(aws, machine),
        new=new,
        spec=done,
        agent=agent_report(status),
        seconds=UpSecondsReport(launch=launched - began, **seconds, total=aws.clock.monotonic() - began),
    )


def find_or_launch(
    aws: Aws, spec: PortalSpec, progress: Progress, agent: Agent, ends: Ends | None = None
) -> tuple[Instance, bool]:
    """The portal's machine, running, and whether it was launched just now. Raises GoingDown at an end beyond `ends`."""
    ends = ends or Ends(spec.name)
    drives = [observe(aws, name) for name in sorted(drive.name for drive in spec.drives) or [spec.name]]
    ends.look(drives)
    earlier = next((claim for drive in drives if (claim := earlier_claim(drive))), None)
    try:
        prepared = prepare(aws, spec, launch_id=earlier.launch if earlier else None)
    except BaseException:
        if earlier:
            earlier.release()
        raise
    if isinstance(prepared, Preparation):
        return _launch_locked(aws, prepared, earlier or new_claim(), progress, agent, ends), True
    if earlier:
        earlier.release()
    return attach_drives(aws, adopt(aws, spec, prepared, progress), progress), False


def _launch_locked(
    aws: Aws, prepared: Preparation, claim: Claim, progress: Progress, agent: Agent, ends: Ends
) -> Instance:
    """All drives or none: their locks are taken in the order of their names, so that no two wait for each other."""
    drives: Settled = {}
    with Undo(progress.warn) as undo:
        for planned in sorted(prepared.drives, key=lambda d: d.name):
            undo.register("lock", partial(give_up, aws, planned.name, claim, progress))
            portal = prepared.spec.name
            lifecycle = Lifecycle(aws, planned.name, portal=portal, agent=agent, progress=progress, lock=claim)
            drives[planned.name] = lifecycle, _settle(prepared, planned, lifecycle, _zones_for(prepared, planned))
        machine, offer = _launch_near(aws, prepared, drives, claim, progress, ends) or _launch_anywhere(
            aws, prepared, drives, claim, progress, ends
        )
        undo.keep()
    claim.release()
    for lifecycle, drive in drives.values():
        follow(aws, lifecycle.observed, drive.generation, machine.disks.get(drive.device, machine.id))
    progress.say(f"machine {machine.id}: {offer}")
    surplus = surplus_of(offer.type)
    if surplus:
        progress.say(surplus_text(offer.type.name, surplus))
    return machine


Settled = dict[str, tuple[Lifecycle, DriveOrder]]  # by drive, each with its lock taken


def _launch_near(
    aws: Aws, prepared: Preparation, settled: Settled, claim: Claim, progress: Progress, ends: Ends
) -> tuple[Instance, Offer] | None:
    """A machine for the volumes that are left, where they are; None if not all drives are there, or no machine is.

    They are attached to it, and no snapshot is waited for. A machine that did not get them is ended by what comes next.
    """
    volumes = [drive.source for _, drive in settled.values() if isinstance(drive.source, Volume)]
    zones = {volume.zone for volume in volumes}
    offers = tuple(offer for offer in prepared.offers if {offer.zone} == zones)
    if not offers or len(volumes) < len(settled):
        return None
    try:
        machine, offer = _launch(aws, replace(prepared, offers=offers), settled, claim, progress, ends)
    except NoCapacity:
        progress.say(f"no machine in {offers[0].zone}, where {', '.join(v.id for v in volumes)} is: snapshots move it")
        return None
    try:
        return attach_drives(aws, machine, progress, Heart(aws, claim.launch).beat), offer
    except NotAttached as error:
        progress.say(f"{error.message}: its final save was quicker, and is gone on from")
        tag_machine(aws, machine.id, {tags.MARKED: aws.now().isoformat()})  # nobody attaches anything to it any more
        wait_for_lists(aws)
        return None


def _launch_anywhere(
    aws: Aws, prepared: Preparation, settled: Settled, claim: Claim, progress: Progress, ends: Ends
) -> tuple[Instance, Offer]:
    """A machine with its drives restored from snapshots; volumes that are left are saved first."""
    for name, (lifecycle, drive) in settled.items():
        if isinstance(drive.source, Volume):
            settled[name] = lifecycle, _settle(prepared, drive, lifecycle, frozenset())
    return _launch(aws, prepared, settled, claim, progress, ends)


def _launch(
    aws: Aws, prepared: Preparation, settled: Settled, claim: Claim, progress: Progress, ends: Ends
) -> tuple[Instance, Offer]:
    ends.look(lifecycle.observed for lifecycle, _ in settled.values())
    ordered = [settled[drive.name] for drive in prepared.drives]
    locks = [lock for lifecycle, _ in ordered if (lock := lifecycle.observed.lock)]
    return launch_machine(aws, prepared, [drive for _, drive in ordered], locks, claim, progress)


def _zones_for(prepared: Preparation, planned: DriveOrder) -> frozenset[str]:
    """Where the drive's volume could be attached: a volume that is to grow is restored larger."""
    grows = planned.source is not None and planned.size_gib > planned.source.size_gib
    return frozenset() if grows else frozenset(offer.zone for offer in prepared.offers)


def _settle(prepared: Preparation, planned: DriveOrder, lifecycle: Lifecycle, zones: frozenset[str]) -> DriveOrder:
    """The drive locked, and ready to be launched with. Raises DriveInUse if it came up meanwhile."""
    action = lifecycle.settle(p.Goal.UP, zones=zones)
    if not isinstance(action, p.Launch):
        raise DriveInUse(
            f'drive "{planned.name}" came up elsewhere in this very moment',
            hint=f"xportal up {prepared.spec.name} again uses that machine",
        )
    size = max(planned.size_gib, action.source.size_gib if action.source else 0)
    return replace(planned, source=action.source, generation=action.generation, size_gib=size)
