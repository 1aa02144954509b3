"""What there is: portals, machines, drives, and what of it is billed. Strictly read-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xportal.aws import compute, tags
from xportal.aws.session import Aws
from xportal.drive.observe import list_drive_names, observe
from xportal.portal.access import open_portal
from xportal.portal.agent import AgentStatus
from xportal.portal.last_time import LastTime
from xportal.portal.remember import find_last_end, find_last_time
from xportal.portal.reporting import copy_report, drive_report, last_time_report, portal_report
from xportal.progress import Progress
from xportal.reports import CopyReport, DriveReport, PortalReport
from xportal.spec import check_name


def list_portals(aws: Aws) -> list[PortalReport]:
    """Every portal of the account in this region that is up."""
    return _rows(aws, tags.tag_filter(ours="1"), None)


def list_portal(aws: Aws, name: str, warn: Callable[[str], None]) -> list[PortalReport]:
    """One portal, as a rule one row: also one that is down, if its drives tell of it; none of an unknown one."""
    last = find_last_time(aws, name, warn)
    rows = _rows(aws, tags.tag_filter(portal=name), last)
    if rows or last is None:
        return rows
    return [
        PortalReport(
            portal=name,
            machine=None,
            state="down",
            type=None,
            zone=None,
            address=None,
            spot=None,
            price=None,
            since=None,
            last_time=last_time_report(last),
            ended=find_last_end(aws, last),
        )
    ]


def _rows(aws: Aws, wanted: list[Any], last: LastTime | None) -> list[PortalReport]:
    machines = [m for m in compute.list_instances(aws, wanted) if m.state != "terminated"]
    return [portal_report(m, last) for m in sorted(machines, key=lambda m: m.tags.get(tags.PORTAL, ""))]


def machine_status(aws: Aws, name: str, progress: Progress) -> AgentStatus:
    """What the agent of a running portal says of its drive, GPU and containers. Raises MachineLost, PortalNotUp."""
    with open_portal(aws, name, progress.update) as opened:
        return opened.status


def list_drives(aws: Aws) -> list[DriveReport]:
    """Every drive of the account in this region."""
    return [drive_report(observe(aws, name)) for name in list_drive_names(aws)]


def list_copies(aws: Aws, name: str) -> list[CopyReport]:
    """Every volume and snapshot of one drive, newest first."""
    drive = observe(aws, check_name("drive", name))
    return [copy_report(drive, copy) for copy in sorted(drive.copies, key=drive.order_of, reverse=True)]
