"""`save`: a checkpoint of a portal's drive while the work on it goes on."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from xportal.aws.records import Snapshot
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle, Story
from xportal.portal.saving import RemoteAgent
from xportal.spec import check_name


@dataclass
class SaveReport:
    """A checkpoint. Times in seconds."""

    portal: str
    drive: str
    snapshot: Snapshot
    seconds: dict[str, float] = field(default_factory=dict)


def save(aws: Aws, name: str, story: Story, *, wait: bool = True) -> SaveReport:
    """Take a checkpoint of portal `name`; without `wait`, only until AWS has started it.

    What it holds is fixed when it is started, as of one moment. Raises PortalNotUp, DriveInUse, SnapshotFailed,
    MachineLost.
    """
    began = time.monotonic()
    check_name("portal", name)
    lifecycle = Lifecycle(aws, name, portal=name, agent=RemoteAgent(aws, story), story=story)
    choice = f"save-{secrets.token_hex(4)}"
    lifecycle.settle(p.Goal.SAVE, choice=choice, wait=wait)
    taken = lifecycle.observed.checkpoint_of(choice)
    if taken is None:
        raise AssertionError("a save is done when its checkpoint is observed")
    return SaveReport(name, name, taken, {**lifecycle.seconds, "total": time.monotonic() - began})
