"""What belongs to a portal, by its tag."""

from __future__ import annotations

from xportal.aws import compute, keys, storage, tags
from xportal.aws.session import Aws


def find_drives(aws: Aws, portal: str) -> tuple[str, ...]:
    """The drives that a portal has awake or has left unfinished, by name; the one of its own name if there are none."""
    wanted = tags.tag_filter(portal=portal)
    told = [m.tags for m in compute.list_instances(aws, wanted) if m.state != "terminated"]
    told += [v.tags for v in storage.list_volumes(aws, wanted) if v.state != "deleting"]
    told += [lock.tags for lock in keys.list_key_pairs(aws) if lock.tags.get(tags.PORTAL) == portal]
    return tuple(sorted({name for tag in told for name in tags.drive_names(tag)})) or (portal,)
