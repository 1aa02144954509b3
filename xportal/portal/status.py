"""What there is: portals, machines, drives, and what of it is billed. Strictly read-only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xportal.aws import compute, tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.drive.generations import restored_from
from xportal.drive.model import Drive
from xportal.drive.observe import list_drive_names, observe
from xportal.portal.access import open_portal
from xportal.portal.agent import AgentStatus
from xportal.portal.last_time import LastTime
from xportal.portal.prices import price_of
from xportal.portal.remember import find_last_end, find_last_time
from xportal.progress import Progress
from xportal.spec import check_name


@dataclass(frozen=True)
class PortalRow:
    """A portal whose machine is not terminated; or of one that is asked for by its name, what it was at its last `up`:
    then its state is "down" where it has no machine. `price` in US dollars an hour, None on demand.
    """

    portal: str
    machine: str | None
    state: str
    type: str | None
    zone: str | None
    address: str | None
    spot: bool | None
    price: float | None
    since: datetime | None
    last_time: LastTime | None = None
    ended: str | None = None  # of one that is down: how it lost its last machine, as a sentence


@dataclass(frozen=True)
class DriveRow:
    """A drive and where its newest data is. `state`: awake, saving, volume, snapshot, empty."""

    drive: str
    state: str
    where: str
    size_gib: int
    generation: int
    snapshots: int
    saved: datetime | None


@dataclass(frozen=True)
class CopyRow:
    """One volume or snapshot of a drive."""

    id: str
    kind: str  # volume, final, checkpoint, by hand
    state: str
    generation: int
    size_gib: int
    made: datetime
    note: str  # "newest", "restored, was generation 3"


def list_portals(aws: Aws) -> list[PortalRow]:
    """Every portal of the account in this region that is up."""
    return _rows(aws, tags.tag_filter(ours="1"), None)


def list_portal(aws: Aws, name: str, warn: Callable[[str], None]) -> list[PortalRow]:
    """One portal, as a rule one row: also one that is down, if its drives tell of it; none of an unknown one."""
    last = find_last_time(aws, name, warn)
    rows = _rows(aws, tags.tag_filter(portal=name), last)
    if rows or last is None:
        return rows
    return [PortalRow(name, None, "down", None, None, None, None, None, None, last, find_last_end(aws, last))]


def _rows(aws: Aws, wanted: list[Any], last: LastTime | None) -> list[PortalRow]:
    machines = [m for m in compute.list_instances(aws, wanted) if m.state != "terminated"]
    return [_portal_row(m, last) for m in sorted(machines, key=lambda m: m.tags.get(tags.PORTAL, ""))]


def machine_status(aws: Aws, name: str, progress: Progress) -> AgentStatus:
    """What the agent of a running portal says of its drive, GPU and containers. Raises MachineLost, PortalNotUp."""
    with open_portal(aws, name, progress.update) as opened:
        return opened.status


def list_drives(aws: Aws) -> list[DriveRow]:
    """Every drive of the account in this region."""
    return [_drive_row(observe(aws, name)) for name in list_drive_names(aws)]


def list_copies(aws: Aws, name: str) -> list[CopyRow]:
    """Every volume and snapshot of one drive, newest first."""
    drive = observe(aws, check_name("drive", name))
    rows = [
        CopyRow(v.id, "volume", v.state, drive.generation_of(v), v.size_gib, v.created, _note(drive, v))
        for v in drive.volumes
    ]
    rows += [
        CopyRow(s.id, s.tags.get(tags.KIND, "by hand"), s.state, drive.generation_of(s), s.size_gib, s.started,
                _note(drive, s))
        for s in drive.snapshots
    ]  # fmt: skip
    return sorted(rows, key=lambda r: (r.generation, r.kind == "volume", r.made), reverse=True)


def _note(drive: Drive, copy: Volume | Snapshot) -> str:
    forked = (copy.id if isinstance(copy, Volume) else copy.volume_id) in drive.forks()
    before = restored_from(copy)
    notes = ["forked" if forked else "newest" if copy == drive.newest() else ""]
    return ", ".join(filter(None, [*notes, f"restored, was generation {before}" if before else ""]))


def _portal_row(machine: Instance, last: LastTime | None) -> PortalRow:
    return PortalRow(
        portal=machine.tags.get(tags.PORTAL, ""),
        machine=machine.id,
        state=machine.state,
        type=machine.type,
        zone=machine.zone,
        address=machine.public_address,
        spot=machine.spot,
        price=price_of(machine),
        since=machine.launched,
        last_time=last,
    )


def _drive_row(drive: Drive) -> DriveRow:
    newest = drive.newest_snapshot()
    volume = max(drive.volumes, key=drive.generation_of, default=None)
    machine = drive.live_machine()
    if volume:
        state = "awake" if machine else "volume"
        where = machine.id if machine else f"{volume.id} in {volume.zone}"
        size, generation = volume.size_gib, drive.generation_of(volume)
    elif newest:
        state = "snapshot" if newest.state == "completed" else f"snapshot {newest.state}"
        where, size, generation = newest.id, newest.size_gib, drive.generation_of(newest)
    else:
        state, where, size, generation = "empty", "", 0, 0
    return DriveRow(
        drive.name, state, where, size, generation, len(drive.snapshots), newest.started if newest else None
    )
