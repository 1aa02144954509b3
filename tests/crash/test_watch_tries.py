"""`watch` when things go wrong: what is tried again, how soon, and what ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import FileAgent, Lab
from tests.crash.meanwhile import before_call
from tests.crash.watches import SECONDS, ended, live, next_machine, take, wait_for, watch
from tests.user import SECRET
from xportal.aws import tags
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.errors import MachineLost, NoCredentials, UsageError, XportalError
from xportal.portal.endings import Ends
from xportal.portal.up import find_or_launch
from xportal.spec import MachineSpec, PortalSpec
from xportal.watch.meter import Meter
from xportal.watch.step import Limits
from xportal.watch.watch import Pace, Watch


class FailingUp:
    """An `up` that fails so many times after its launch, or before it."""

    def __init__(self, lab: Lab, times: float, error: XportalError, *, launches: bool = True) -> None:
        self._lab = lab
        self._error = error
        self._launches = launches
        self.left = times

    def __call__(self, spec: PortalSpec, ends: Ends) -> None:
        if self._launches:
            find_or_launch(self._lab.aws, spec, self._lab.story, FileAgent(self._lab), ends)
        if self.left > 0:
            self.left -= 1
            raise self._error

    def watch(
        self,
        drive: str,
        waits: Callable[[], Iterator[float]] = lambda: itertools.repeat(5.0),
        limits: Limits = Limits(),
    ) -> Watch:
        """A watch with this `up`."""
        spec, lab = PortalSpec(drive, MachineSpec(gpu=False)), self._lab
        return Watch(lab.aws, spec, limits, lab.story, FileAgent(lab), self, Pace(5.0, waits))


def test_up_is_tried_again_on_a_live_machine(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """The new machine does not answer at first: it is no portal yet."""
    before = lab.up(drive, size_gib=1)
    failing = FailingUp(lab, 2, MachineLost("it does not answer"))
    watching = pool.submit(failing.watch(drive).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    take(lab, before)
    now = next_machine(lab, drive, watching, before)
    wait_for(lab, watching, lambda: any(f"{now.id} runs" in line for line in lab.story.lines))
    assert failing.left == 0
    lab.down(drive)
    watching.result(SECONDS)


def test_limits_while_up_waits(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """The new machine never answers, and the next `up` is far away: a limit ends it meanwhile."""
    before = lab.up(drive, size_gib=1)
    failing = FailingUp(lab, float("inf"), MachineLost("it does not answer"))
    watching = pool.submit(failing.watch(drive, lambda: itertools.repeat(1e6), Limits(hours=1)).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    take(lab, before)
    now = next_machine(lab, drive, watching, before)
    set_tags(lab.aws, now.id, {tags.METER: str(Meter(0, 0, lab.aws.now() - timedelta(hours=2)))})
    assert watching.result(SECONDS).why == "1 hours are over"


def test_what_only_a_person_can_mend(lab: Lab, drive: str) -> None:
    """It ends the watch."""
    take(lab, lab.up(drive, size_gib=1))
    with pytest.raises(UsageError, match="nothing fits"):
        ended(FailingUp(lab, 1, UsageError("nothing fits"), launches=False).watch(drive))
    lab.down(drive)


def test_credentials_that_pass_by(lab: Lab, drive: str) -> None:
    """They are renewed, and the watch goes on; where there never were any, it ends."""
    lab.up(drive, size_gib=1)
    answers = itertools.count()

    def expired(params: Mapping[str, Any]) -> None:
        if params.get("Filters") == tags.tag_filter(portal=drive) and 1 <= next(answers) <= 2:
            raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "it is expired"}}, "DescribeInstances")

    with before_call(lab.aws, "DescribeInstances", expired, times=1000):
        assert ended(watch(lab, drive, Limits(hours=1e-9))).why == "1e-09 hours are over"
        assert sum("ExpiredToken" in line for line in lab.story.lines) == 1
        answers = itertools.count(1)
        with pytest.raises(NoCredentials):
            ended(watch(lab, drive))


class BrokenSession(boto3.Session):
    """What gives its credentials fails with one error after the other."""

    errors: list[Exception] = []

    def get_credentials(self) -> Any:
        """In the end they are well."""
        if self.errors:
            raise self.errors.pop(0)
        return super().get_credentials()


def test_credentials_that_break_for_a_while(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """A credential_process that prints text, or expired keys, is told of; the watch goes on once it is well again."""
    session = BrokenSession(SECRET.access_key_id, SECRET.secret_access_key, region_name=lab.aws.region)
    lab.aws = Aws(session, lab.aws.region, clock=lab.aws.clock)
    lab.up(drive, size_gib=1)
    errors: list[Exception] = [
        ValueError("Expecting value"),
        RuntimeError("the refreshed credentials are still expired"),
    ]
    errors += [FileNotFoundError(2, "No such file or directory", "get-keys"), KeyError("AccessKeyId")]

    watching = pool.submit(watch(lab, drive).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    session.errors = errors
    wait_for(lab, watching, lambda: not errors)
    assert any("no AWS credentials" in line and "get-keys" in line for line in lab.story.lines)
    lab.down(drive)
    assert watching.result(SECONDS).why.startswith("somebody ended")
