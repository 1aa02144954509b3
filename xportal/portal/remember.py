"""`up` is as last time: what the tags of a portal's machine and copies tell of it, and putting it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from xportal.aws import compute, storage, tags
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive.model import LIVE
from xportal.drive.observe import observe
from xportal.errors import Unreachable
from xportal.portal.endings import tell_end
from xportal.portal.find import drive_volumes, find_machine
from xportal.portal.last_time import LastTime, asked_as, beginning, completed, from_tags, to_tags, with_drives
from xportal.progress import Progress
from xportal.spec import PortalSpec, check_name

AHEAD = timedelta(minutes=5)  # of AWS's clock: no `up` of ours was later than now


def find_last_time(aws: Aws, portal: str, warn: Callable[[str], None]) -> LastTime | None:
    """What the portal was at its last `up`: the latest that its live machine or any of its copies tells.

    A copy's age does not matter: a drive that was restored, forked, or another portal's meanwhile tells of none of
    that. What makes no sense, and what is told as of a time to come, is left out with a warning.
    """
    wanted = tags.tag_filter(remembered=f"{beginning(check_name('portal', portal))}*")
    told = {m.id: m.tags for m in compute.list_instances(aws, wanted) if m.state in LIVE}
    told |= {v.id: v.tags for v in storage.list_volumes(aws, wanted) if v.state != "deleting"}
    told |= {s.id: s.tags for s in storage.list_snapshots(aws, wanted)}
    found: list[LastTime] = []
    for id_, carried in told.items():
        try:
            last = from_tags(carried, portal)
            if last and last.at > aws.now() + AHEAD:
                raise ValueError("it is of a time to come")
            if last and not set(last.drives) & set(tags.drive_names(carried)):
                raise ValueError("it tells of other drives than its own")
        except ValueError as error:
            warn(f"the tag {tags.REMEMBERED} of {id_} is left out: {error}")
            continue
        found += [last] if last else []
    return max(found, key=lambda last: last.at, default=None)


def find_last_end(aws: Aws, last: LastTime) -> str | None:
    """How a portal that is down lost its machine, as a sentence; None if nothing tells."""
    machines = compute.list_instances(aws, tags.tag_filter(portal=last.portal))
    newest = max(machines, key=lambda m: m.launched, default=None)
    return tell_end(newest, observe(aws, last.drives[0]), last.idle_minutes)


def recall(aws: Aws, asked: PortalSpec, progress: Progress) -> PortalSpec:
    """The spec with what the command line leaves open as last time, which is said; and with the tags that remember it.

    Read-only. Raises UsageError.
    """
    before = find_last_time(aws, asked.name, progress.warn)
    machine = find_machine(aws, asked.name)
    spec = with_drives(asked, tags.drive_names(machine.tags) if machine else ())
    if before:
        spec = completed(spec, before)
    now = asked_as(spec, aws.now(), before)
    if before and before == replace(now, at=before.at):
        now = before
    if before and machine is None and (end := find_last_end(aws, before)):
        progress.say(f"last time {end}")
    if before and before.follows and not spec.file:
        progress.say(f"the portal goes on as {before.follows} had it; the command line wins")
        if before.follows.image_id and not asked.machine.image_id and machine is None:
            progress.warn(
                f"{before.follows.file} has image_id {before.follows.image_id}: only an up with the file boots it"
            )
    if before and before.words() and machine is None and not spec.file:
        given = "" if now == before else "; what the command line says wins"
        progress.say(f"as last time: {before.words()}{given}")
    return replace(spec, asked=asked, remembered=to_tags(now))


def carry_on(aws: Aws, spec: PortalSpec, progress: Progress) -> PortalSpec:
    """The spec as it is, and the tags that remember what a person asked for last: for machines that nobody asks for."""
    before = find_last_time(aws, spec.name, progress.warn)
    return replace(spec, remembered=to_tags(before)) if before else spec


def remember(aws: Aws, machine: Instance, spec: PortalSpec, progress: Progress) -> None:
    """Put the tags that remember the spec on a machine and its drives, where they are not there yet. No `up` fails
    for it.
    """
    wanted = dict(spec.remembered)
    try:
        carried = {machine.id: machine.tags, **{v.id: v.tags for v in drive_volumes(aws, machine)}}
        for id_, told in carried.items():
            if not wanted.items() <= told.items():
                set_tags(aws, id_, wanted)
    except (AwsError, Unreachable) as error:
        progress.warn(f"the next up of {spec.name} may not be as this one: {error.message}")
