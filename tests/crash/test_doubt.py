"""Answers that a proxy wrote in AWS's place: what was granted is found again, and what was refused is not doubted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.crash.answers import make_answer
from tests.crash.conftest import Lab, make_lab
from xportal.aws import compute, keys, tags
from xportal.aws.errors import AwsError, is_in_doubt, is_transient
from xportal.aws.records import Instance
from xportal.drive.model import lock_name
from xportal.drive.observe import list_drive_names, observe
from xportal.errors import AwsRefused, NoCapacity, Unreachable, XportalError
from xportal.sandbox.api.server import Cloud

HTML = b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"
DOCTYPE = b"<!DOCTYPE html>\n<html><head><title>502</title></head><body>Bad Gateway</body></html>"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>'
PAGES = {
    "html": HTML,
    "doctype": DOCTYPE,
    "xhtml": XHTML,
    "empty": b"",
    "text": b"upstream timed out",
    "json": b'{"message": null}',
}
CODED = (
    "<Response><Errors><Error><Code>{}</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>"
)
EVER = 1_000_000
_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"doubt{next(_numbers)}"


@pytest.fixture(autouse=True, scope="module")
def known_profile(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    """EC2 knows the machines' role already: else it refuses the first launch."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = make_lab(cloud, tmp_path_factory.mktemp("state"), monkeypatch)
        lab.up("first", size_gib=1)
        lab.down("first")


@contextmanager
def answered(
    lab: Lab, operation: str, status: int, body: bytes, *, times: int = EVER, done: bool = True
) -> Iterator[list[int]]:
    """The next `times` calls are answered so instead of by AWS, which has `done` them before all the same."""
    calls = [0]

    # An answer keeps the request from being sent: the types of events know of handlers without one.
    def handler(request: Any, **_: Any) -> Any:
        if calls[0] >= times:
            return None
        calls[0] += 1
        if done:
            lab.aws.once._endpoint.http_session.send(request)  # type: ignore[attr-defined]
        return make_answer(request.url, status, {}, body)

    for client in (lab.aws.ec2, lab.aws.once):
        client.meta.events.register(f"before-send.ec2.{operation}", handler)
    try:
        yield calls
    finally:
        for client in (lab.aws.ec2, lab.aws.once):
            client.meta.events.unregister(f"before-send.ec2.{operation}", handler)


def machines(lab: Lab, drive: str) -> list[Instance]:
    """Those of the drive that run."""
    return [m for m in compute.list_instances(lab.aws, tags.drive_filter(drive)) if m.state in ("pending", "running")]


@pytest.mark.parametrize(
    ("status", "page"),
    [(502, "html"), (504, "doctype"), (503, "xhtml"), (500, "empty"), (502, "text"), (429, "doctype"), (200, "doctype"),
     (200, "xhtml"), (200, "empty"), (502, "json")],
)  # fmt: skip
def test_a_launch_that_was_granted(
    lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch, status: int, page: str
) -> None:
    """Whatever hides the answer, the lock stays with the machine, and the next `up` goes on with it: it is one."""
    with answered(lab, "RunInstances", status, PAGES[page]), pytest.raises(XportalError) as failed:
        lab.up(drive, size_gib=1)
    assert is_in_doubt(failed.value), failed.value
    [granted] = machines(lab, drive)
    assert keys.find_key_pair(lab.aws, lock_name(drive)) is not None
    assert lab.up(drive).id == granted.id
    assert [m.id for m in machines(lab, drive)] == [granted.id]
    lab.down(drive)


def test_one_lost_answer_is_no_failure(lab: Lab, drive: str) -> None:
    """The same request, asked again, is answered with the machine that was granted."""
    with answered(lab, "RunInstances", 502, DOCTYPE, times=1):
        machine = lab.up(drive, size_gib=1)
    assert [m.id for m in machines(lab, drive)] == [machine.id]
    lab.down(drive)


@pytest.mark.parametrize("then", ["RequestLimitExceeded", "UnauthorizedOperation", "AuthFailure"])
def test_a_later_refusal_settles_no_earlier_doubt(lab: Lab, drive: str, then: str) -> None:
    """After a lost answer, a refusal that does not speak of the launch leaves the lock with the machine."""
    refusal = CODED.format(then).encode()
    with (
        answered(lab, "RunInstances", 503, refusal, done=False),
        answered(lab, "RunInstances", 502, HTML, times=1),
        pytest.raises(XportalError),
    ):
        lab.up(drive, size_gib=1)
    [granted] = machines(lab, drive)
    assert lab.up(drive).id == granted.id
    lab.down(drive)


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, DOCTYPE), (407, HTML), (404, b""), (400, CODED.format("InvalidSomething").encode()),
     (403, CODED.format("UnauthorizedOperation").encode()), (400, CODED.format("InvalidParameterValue").encode())],
    ids=["403 page", "407 page", "404 empty", "unknown code", "permission", "parameter"],
)  # fmt: skip
def test_a_refusal_leaves_nothing(lab: Lab, drive: str, status: int, body: bytes) -> None:
    """HTTP 4xx is a no, whoever says it: neither lock nor machine stays, and it is asked once."""
    with answered(lab, "RunInstances", status, body, done=False) as calls, pytest.raises(AwsRefused) as failed:
        lab.up(drive, size_gib=1)
    assert not is_in_doubt(failed.value)
    assert calls[0] <= 2  # once more without the role, where the permission may be that one
    assert keys.find_key_pair(lab.aws, lock_name(drive)) is None
    assert machines(lab, drive) == []


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "InsufficientCapacity", "UnfulfillableCapacity"])
def test_missing_capacity_comes_as_http_500(lab: Lab, drive: str, code: str) -> None:
    """A known code decides: the next offer is tried, and nothing is in doubt at the end."""
    with (
        answered(lab, "RunInstances", 500, CODED.format(code).encode(), done=False) as calls,
        pytest.raises(NoCapacity),
    ):
        lab.up(drive, size_gib=1)
    assert calls[0] > 5
    assert keys.find_key_pair(lab.aws, lock_name(drive)) is None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("page", ["doctype", "xhtml", "html", "text"])
def test_reads_are_asked_again(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch, status: int, page: str) -> None:
    """A page of a proxy in place of a list is no empty list: it is asked for again."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    for operation in ("DescribeVolumes", "DescribeSnapshots", "DescribeInstances", "DescribeKeyPairs"):
        with answered(lab, operation, status, PAGES[page], times=2):
            list_drive_names(lab.aws)
            observe(lab.aws, drive)


@pytest.mark.parametrize("status", [200, 302])
@pytest.mark.parametrize("page", ["doctype", "xhtml", "text", "empty"])
def test_a_login_page_is_no_empty_account(lab: Lab, drive: str, status: int, page: str) -> None:
    """A network's login page, which answers everything with success, must not make a drive look new."""
    with answered(lab, "DescribeSnapshots", status, PAGES[page]), pytest.raises(Unreachable) as failed:
        observe(lab.aws, drive)
    assert is_transient(failed.value)


def test_an_answer_that_lacks_what_is_read(lab: Lab, drive: str) -> None:
    """A record without its parts is an answer that makes no sense, and no bug of ours."""
    item = b"<item><volumeId>vol-1</volumeId></item>"
    half = b"<DescribeVolumesResponse><volumeSet>" + item + b"</volumeSet></DescribeVolumesResponse>"
    with answered(lab, "DescribeVolumes", 200, half), pytest.raises(Unreachable, match="makes no sense: volume"):
        observe(lab.aws, drive)


@pytest.mark.parametrize(
    ("code", "status", "doubt", "transient"),
    [("InternalError", 500, True, True), ("Unavailable", 503, True, True), ("SomethingNew", 500, True, True),
     ("502", 502, True, True), ("429", 429, True, True), ("RequestLimitExceeded", 503, False, True),
     ("Throttling", 400, False, True), ("InsufficientInstanceCapacity", 500, False, False),
     ("SomethingNew", 400, False, False), ("403", 403, False, False), ("InternalError", 0, True, True)],
)  # fmt: skip
def test_table(code: str, status: int, doubt: bool, transient: bool) -> None:
    """Which answers leave open whether the call was done, and after which the same call may go well."""
    error = AwsError("no", code=code, operation="RunInstances", status=status)
    assert (is_in_doubt(error), is_transient(error)) == (doubt, transient)
