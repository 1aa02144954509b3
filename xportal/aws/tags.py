"""xportal's tags: AWS tags are its only database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xportal import foreign
from xportal.spec import MAX_DRIVES

OURS = "xportal"  # "1" on everything ours; IAM policies test it
PORTAL = "xportal:portal"
DRIVE = "xportal:drive"  # of machines, and of volumes until each has its own: all its drives, in the order of devices
LAUNCH = "xportal:launch"
GENERATION = "xportal:generation"
ARCHITECTURE = "xportal:architecture"
KIND = "xportal:kind"  # on snapshots: FINAL, WITHDRAWN or CHECKPOINT
SAVE = "xportal:save"  # on checkpoints: the id of the save that took it
ROLLING = "xportal:rolling"  # "1" on checkpoints of the machine's own that go after a later final save; "0": it stays
STAYS = "xportal:stays"  # on snapshots that were to be deleted: why AWS does not let them
SET = "xportal:set"  # on snapshots of several drives of one moment
RESTORED = "xportal:restored"  # on a copy that was chosen to go on from: which generation it was, and when that was
AWAITS = "xportal:awaits"  # on machines whose drives are yet to be attached: the generations that those will be
PRICE = "xportal:price"  # on instances: US dollars an hour at launch, "" on demand
METER = "xportal:meter"  # on watched machines: US dollars and hours of the machines before, and from when it counts
ENDED = "xportal:ended"  # on the newest copy, when a `down` was: no machine before it was interrupted
ENDING = "xportal:ending"  # on a machine that a watch ends: why
REPLACED = "xportal:replaced"  # "1" on a machine that `up` ends: nobody wants the portal ended
REMEMBERED = "xportal:last-time"  # on machines and copies: what a person asked of `up`; goes on in ...last-time.2
MARKED = (
    "xportal:marked"  # on what may be deleted from then on, and since when: it never lives again, and is not taken back
)
BLANK = "xportal:blank"  # on copies: the drives of which no `up` has seen yet that they have a filesystem
SEAL = "xportal:seal"  # on machines and volumes: hashes of the proofs that the machine's final saves will show
UNMOUNTED = "xportal:unmounted"  # on a volume that no machine writes to any more in this life: the same of a command's
PROOF = "xportal:proof"  # on final saves: what a seal of their volume is the hash of
FOLLOWED = "xportal:followed-by"  # on copies: NOBODY, or the volume or copy with which the drive went on after them
GIVEN_UP = "xportal:given-up"  # on copies: a volume with which the drive went on after them, and that was discarded
STRAY = "xportal:stray"  # "1" on snapshots of a volume that no `up` took over, when the drive had gone on without it
MACHINE = "xportal:machine"  # on volumes: the ARN of the machine whose role may take snapshots of them, or NOBODY
HOST_KEY = "xportal:host-key"
HOLDER = "xportal:holder"
HEARTBEAT = "xportal:heartbeat"
NAME = "Name"

REMEMBERED_TAGS_MAX = 8

NOBODY = "nobody"

FINAL = "final"
WITHDRAWN = "withdrawn"  # a final save that an `up` takes back; a checkpoint once nobody can have relied on it
CHECKPOINT = "checkpoint"
ROLLED = "rolling"  # the kind that the description of a rolling checkpoint tells, whose tag says CHECKPOINT


def to_aws(tags: Mapping[str, str]) -> list[Any]:
    """`tags` as the API takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_aws(tags: Iterable[Any] | None) -> dict[str, str]:
    """`tags` as the API gives them."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}


def tag_filter(**tags: str) -> list[Any]:
    """A filter on the tags of ours named by the constants of this module, in lower case: `tag_filter(drive="x")`."""
    keys = {name.lower(): value for name, value in globals().items() if name.isupper()}
    return [{"Name": f"tag:{keys[name]}", "Values": [value]} for name, value in tags.items()]


def drive_places(told: Mapping[str, str]) -> dict[str, int]:
    """The drives that the tags of a machine or volume tell of, with each one's place in the list.

    What is no name, or has a place that no machine has, is left out, and the others keep their places: a machine has
    its drives at the devices of their places.
    """
    listed = enumerate(told.get(DRIVE, "").split(",")[:MAX_DRIVES])
    places: dict[str, int] = {}
    for place, word in listed:
        if name := foreign.name(word):
            places.setdefault(name, place)
    return places


def drive_names(told: Mapping[str, str]) -> tuple[str, ...]:
    """The drives that the tags of a machine or volume tell of."""
    return tuple(drive_places(told))


def portal_name(told: Mapping[str, str]) -> str:
    """The portal that a machine's tags tell of, to be named in a command; `PORTAL` if they tell no name."""
    return foreign.name(told.get(PORTAL, "")) or "PORTAL"


def remembered(told: Mapping[str, str]) -> dict[str, str]:
    """Those of the tags that remember what a person asked of `up`."""
    return {key: value for key, value in told.items() if key.partition(".")[0] == REMEMBERED}


def is_blank(told: Mapping[str, str], drive: str) -> bool:
    """Whether the tags of a copy say that its drive may never have got a filesystem."""
    return drive in told.get(BLANK, "").split(",")


def drive_filter(name: str) -> list[Any]:
    """A filter on machines and volumes: one that tells of drive `name`, alone or among others."""
    return [{"Name": f"tag:{DRIVE}", "Values": listed(name)}]


def listed(name: str) -> list[str]:
    """The values, with EC2's wildcards, of a list that holds `name`."""
    return [name, f"{name},*", f"*,{name}", f"*,{name},*"]
