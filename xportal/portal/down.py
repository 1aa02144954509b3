"""`down` and `sweep`: save, end, delete what has a successor, release the lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from xportal.aws import compute, keys, network, tags
from xportal.aws.errors import AwsError
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.model import Drive
from xportal.drive.observe import list_drive_names, observe
from xportal.drive.snapshots import Agent
from xportal.errors import Unreachable, XportalError
from xportal.machine.access import forget_login_key, forget_unused_login_keys
from xportal.portal.claims import earlier_claim
from xportal.portal.find import find_drives
from xportal.portal.reporting import newest_report, save_seconds
from xportal.progress import Progress
from xportal.reports import DownReport, DriveLeftReport
from xportal.spec import check_name


@dataclass(frozen=True)
class Swept:
    """What a sweep did: `drives` are those that it changed, `errors` tell of those where it could not, one each."""

    drives: tuple[DriveLeftReport, ...]
    errors: tuple[XportalError, ...]
    looked_at: int  # drives, those in `errors` included


def down(
    aws: Aws,
    name: str,
    progress: Progress,
    agent: Agent,
    *,
    wait: bool = True,
    discard: bool = False,
    seen: Mapping[str, frozenset[str]] | None = None,
) -> DownReport:
    """Save and end portal `name`; idempotent. Raises SaveIncomplete with nothing lost, DriveInUse.

    Without `wait` it returns once the final snapshot is started and the machine ended: a sweep does the rest. With
    `discard` nothing is saved: what was written since the drives came up is deleted. `seen` tells of each drive what
    was there (`Drive.there`) when the user was asked; what came later is neither ended nor deleted.
    """
    check_name("portal", name)
    began = aws.clock.monotonic()
    goal = p.Goal.DISCARD if discard else p.Goal.DOWN
    before = [observe(aws, drive) for drive in find_drives(aws, name)]
    there = {drive.name: drive.there() for drive in before} | dict(seen or {})
    lifecycles = [_lifecycle(aws, drive, name, progress, agent, there[drive.name]) for drive in before]
    for lifecycle in lifecycles:
        action = lifecycle.plan(p.Request(goal, wait=wait))
        if discard and isinstance(action, p.Refuse):
            raise action.error  # before anything is gone
        if not isinstance(action, p.Refuse):
            _mark_ended(aws, lifecycle.observed, progress)
    seconds: Counter[str] = Counter()
    for lifecycle in lifecycles:
        lifecycle.settle(goal, wait=wait)
        seconds.update(lifecycle.seconds)
    _tidy(aws, progress)
    after = [observe(aws, drive.name) for drive in before]
    for drive in after:
        _mark_ended(aws, drive, progress)
    return DownReport(
        portal=name,
        drives=tuple(DriveLeftReport(drive.name, newest_report(drive)) for drive in after),
        found=any(drive.lock or drive.volumes or drive.live_machine() for drive in before),
        seconds=save_seconds(seconds, aws.clock.monotonic() - began),
    )


def sweep(aws: Aws, progress: Progress, agent: Agent) -> Swept:
    """Finish what earlier, interrupted runs left of every drive in the region; what is in use is left alone.

    One drive's error does not stop the others.
    """
    changed: list[DriveLeftReport] = []
    errors: list[XportalError] = []
    names = list_drive_names(aws)
    for name in names:
        try:
            before = observe(aws, name)
            _lifecycle(aws, before, None, progress, agent).settle(p.Goal.SWEEP)
            after = observe(aws, name)
        except XportalError as error:
            errors.append(error)
            continue
        if (before.lock, before.volumes) != (after.lock, after.volumes):
            changed.append(DriveLeftReport(name, newest_report(after)))
    _tidy(aws, progress)
    return Swept(tuple(changed), tuple(errors), len(names))


def _lifecycle(
    aws: Aws, drive: Drive, portal: str | None, progress: Progress, agent: Agent, seen: frozenset[str] | None = None
) -> Lifecycle:
    """The loop, with the lock that an interrupted `up` of this computer left, if it did."""
    lock = earlier_claim(drive)
    return Lifecycle(aws, drive.name, portal=portal, agent=agent, progress=progress, lock=lock, seen=seen)


def _mark_ended(aws: Aws, drive: Drive, progress: Progress) -> None:
    """For a `watch`: somebody ended the portal, also if AWS had taken its machine before. No save waits for it."""
    newest = drive.newest()
    if newest is None:
        return
    try:
        set_tags(aws, newest.id, {tags.ENDED: aws.now().isoformat()})
    except (AwsError, Unreachable) as error:
        progress.warn(f"a watch over the portal may not notice its end: {error.message}")


def _tidy(aws: Aws, progress: Progress) -> None:
    """What the drive's protocol does not know of. Everything is saved by then: no `down` fails for it."""
    try:
        _forget(aws)
    except XportalError as error:
        progress.warn(f"something that costs nothing is left behind, for a later sweep: {error.message}")


def _forget(aws: Aws) -> None:
    """Security groups that no machine uses, login keys of dead machines."""
    ours = compute.list_instances(aws, tags.tag_filter(ours="1"))
    busy = {m.vpc_id for m in ours if m.state != "terminated"}
    for vpc in {s.vpc_id for s in network.list_default_subnets(aws)} - busy:
        group = network.find_security_group(aws, vpc)
        # An `up` that has the lock of its drive may be about to launch into the group.
        if group and not keys.list_key_pairs(aws):
            network.delete_security_group(aws, group.id)
    for machine in ours:
        if machine.state == "terminated":
            forget_login_key(machine.tags.get(tags.LAUNCH, ""))
    forget_unused_login_keys()
