"""Watches that look often, and the cloud that takes machines from them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from tests.crash.conftest import FileAgent, Lab
from tests.user import SECRET
from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.drive.observe import observe
from xportal.portal.endings import Ends
from xportal.portal.up import find_or_launch
from xportal.reports import WatchReport
from xportal.sandbox import admin
from xportal.spec import MachineSpec, PortalSpec
from xportal.watch.step import Limits
from xportal.watch.watch import Pace, Watch

SECONDS = 30.0


def watch(lab: Lab, drive: str, limits: Limits = Limits(), machine: MachineSpec = MachineSpec(gpu=False)) -> Watch:
    """A watch that looks often."""
    pace = Pace(5.0, lambda: itertools.repeat(5.0))

    def bring_up(spec: PortalSpec, ends: Ends) -> None:
        find_or_launch(lab.aws, spec, lab.story, FileAgent(lab), ends)

    return Watch(lab.aws, PortalSpec(drive, machine), limits, lab.story, FileAgent(lab), bring_up, pace)


def take(lab: Lab, machine: Instance) -> None:
    """AWS takes the machine back, and says so two minutes before, which pass at once."""
    body = {"instance_id": machine.id, "notice_seconds": 0, "notice": True}
    admin.call(lab.cloud.endpoint_url, SECRET, "POST", "interrupt", body)


def wait_for(lab: Lab, watching: Future[WatchReport], condition: Callable[[], object]) -> None:
    """Until it is true, while the watch goes on."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert not watching.done(), watching.result()
        assert time.monotonic() < deadline, lab.story.lines[-20:]
        time.sleep(0.1)


def next_machine(lab: Lab, drive: str, watching: Future[WatchReport], before: Instance) -> Instance:
    """The machine that the watch brought up in the place of another."""
    wait_for(lab, watching, lambda: (now := live(lab, drive)) and now.id != before.id)
    found = live(lab, drive)
    assert found
    return found


def live(lab: Lab, drive: str) -> Instance | None:
    """The portal's machine with its drive, once the watch has taken note of it."""
    seen = observe(lab.aws, drive)
    machine = seen.live_machine()
    ready = machine and machine.state == "running" and seen.is_on(machine) and tags.METER in machine.tags
    return machine if ready else None


def ended(watching: Watch) -> WatchReport:
    """How a watch ends, which it must in time."""
    report: Future[WatchReport] = Future()

    def run() -> None:
        try:
            report.set_result(watching.run())
        except BaseException as error:
            report.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return report.result(SECONDS)
