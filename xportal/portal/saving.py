"""The save on a portal's machine, as the drive's lifecycle calls for it."""

from __future__ import annotations

import time

from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.drive.lifecycle import Saver, Story
from xportal.portal.access import login_for
from xportal.portal.agent import final_save
from xportal.remote import Host, connect

CONNECT_SECONDS = 60.0


def saver(aws: Aws, story: Story, *, grace: float | None = None) -> Saver:
    """A final save through ssh: stop, commit, unmount. `grace` in seconds is what containers get after SIGTERM."""

    def save(machine: Instance, volume: Volume) -> None:
        story.update(f"saving {volume.id} on {machine.id}")

        def log_in() -> Host:
            return connect(login_for(aws, machine), deadline=time.monotonic() + CONNECT_SECONDS)

        final_save(log_in, story.say, grace=grace)

    return save
