"""Names that no machine answers to: that of a portal at rest, or one that nobody knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches

from xportal.aws import compute, storage, tags
from xportal.aws.catalogue import list_regions
from xportal.aws.session import Aws
from xportal.drive.model import LIVE
from xportal.drive.observe import list_drive_names
from xportal.errors import NoSuchDrive, PortalNotUp, XportalError
from xportal.portal.prices import billed
from xportal.portal.remember import find_last_time
from xportal.spec import check_name

AT_ONCE = 8  # regions that are asked


def not_up(aws: Aws, name: str) -> PortalNotUp:
    """For who needs the machine of portal `name`, which has none."""
    if is_known(aws, name):
        return PortalNotUp(f'portal "{name}" is down', hint=f"xportal up {name}")
    return unknown(aws, name)


def check_known(aws: Aws, name: str) -> None:
    """Raises PortalNotUp for a name that is neither a portal's nor a drive's."""
    if not is_known(aws, name):
        raise unknown(aws, name)


def check_drive_known(aws: Aws, name: str) -> None:
    """Raises NoSuchDrive for a name that is no drive's."""
    if check_name("drive", name) not in list_drive_names(aws):
        error = unknown(aws, name)
        raise NoSuchDrive(f'there is no drive "{name}" in {aws.region}', hint=error.hint, billed=error.billed)


def is_known(aws: Aws, name: str) -> bool:
    """Whether anything in this region is, or was at its last `up`, portal `name`'s; or is the drive of that name."""
    wanted = tags.tag_filter(portal=check_name("portal", name))
    return bool(
        compute.list_instances(aws, wanted)
        or storage.list_volumes(aws, wanted)
        or name in list_drive_names(aws)
        or find_last_time(aws, name, _unheard)
    )


def unknown(aws: Aws, name: str) -> PortalNotUp:
    """What there is instead: the nearest name, what is up, and what other regions have that is billed."""
    machines = compute.list_instances(aws, tags.tag_filter(ours="1"))
    up = sorted({tags.portal_name(m.tags) for m in machines if m.state in LIVE})
    near = get_close_matches(name, {*up, *list_drive_names(aws)}, n=1)
    elsewhere, unasked = find_elsewhere(aws)
    hints = [f"did you mean {near[0]}?"] if near else []
    hints += [f"up: {', '.join(up)}" if up else f"no portal is up in {aws.region}"]
    hints += [f"something is billed in {', '.join(elsewhere)}: --region {next(iter(elsewhere))}"] if elsewhere else []
    hints += [f"not asked: {unasked}"] if unasked else []
    return PortalNotUp(
        f'there is no portal "{name}" in {aws.region}',
        hint="; ".join(hints),
        billed=tuple(f"{region}: {one}" for region, each in elsewhere.items() for one in each),
    )


def find_elsewhere(aws: Aws) -> tuple[dict[str, list[str]], str]:
    """What of ours is billed in other regions of the account, by region; and which of these gave no answer."""
    try:
        others = [aws.in_region(region) for region in list_regions(aws) if region != aws.region]
    except XportalError as error:
        return {}, f"the other regions ({error.message})"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip((there.region for there in others), pool.map(_billed_there, others), strict=True))
    return {region: each for region, each in told.items() if each}, ", ".join(r for r in told if told[r] is None)


def _billed_there(there: Aws) -> list[str] | None:
    """None: it gave no answer, as where the account may not use the region."""
    try:
        return billed(there)
    except XportalError:
        return None


def _unheard(_: str) -> None:
    """What makes no sense is told by who goes by it."""
