"""The metadata client: tokens, answers, and AWS's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.machines.lab import metadata
from tests.unit.agent.metadata_service import serve
from xportal.agent.core import imds as client
from xportal.agent.core.imds import Imds
from xportal.agent.core.notices import Notice, find_notice
from xportal.agent.core.process import AgentError
from xportal.agent.full.extra_watches import find_rebalance
from xportal.sandbox import hardware

WHEN = datetime(2026, 11, 22, 8, 22, tzinfo=timezone.utc)


def test_a_notice_is_found_once_it_is_there() -> None:
    """404 is no notice; then it is read, and its save has one id however often it is read."""
    facts = [metadata(hop_limit=2)]
    with serve(lambda: facts[-1]) as imds:
        assert find_notice(imds) is None
        assert find_rebalance(imds) is None
        facts.append(replace(facts[0], notice=hardware.Notice("terminate", WHEN), rebalance=WHEN))
        assert find_notice(imds) == Notice("terminate", "2026-11-22T08:22:00Z")
        assert find_rebalance(imds) == "2026-11-22T08:22:00Z"
    assert Notice("terminate", "2026-11-22T08:22:00Z").save == "notice-20261122T082200Z"


def test_a_token_that_expired_is_replaced() -> None:
    """The service answers 401, and once more with the new token what was asked."""
    now = [0.0]
    with serve(lambda: metadata(hop_limit=2), lambda: now[0]) as imds:
        assert imds.find("instance-id") == "i-0000"
        now[0] += 21601
        assert imds.find("instance-id") == "i-0000"


def test_time_left_is_told_by_the_service_s_clock(odd: OddServer) -> None:
    """Its Date and the notice's time; whole seconds are rounded to less time, never to more."""
    odd.date = "Sun, 22 Nov 2026 08:20:00 GMT"
    odd.answers = [(200, "token"), (200, '{"action": "terminate", "time": "2026-11-22T08:22:00Z"}')]
    notice = find_notice(odd.imds)
    assert notice is not None
    assert notice.left(odd.imds.now()) == pytest.approx(119, abs=0.5)


@pytest.mark.parametrize("told", ["", "no JSON", "[]", '{"action": "stop"}', '{"time": "soon"}'])
def test_a_notice_that_cannot_be_read_is_one_all_the_same(odd: OddServer, told: str) -> None:
    """Two minutes are what AWS gives."""
    odd.answers = [(200, "token"), (200, told)]
    notice = find_notice(odd.imds)
    assert notice is not None
    assert notice.left(time.time()) == 120


@pytest.mark.parametrize("answers", [[(403, "")], [(200, "token"), (429, "")], [(200, "token"), (503, "")]])
def test_other_answers_are_no_answer(odd: OddServer, answers: list[tuple[int, str]]) -> None:
    """A service that is switched off, or busy, says neither yes nor no."""
    odd.answers = answers
    with pytest.raises(AgentError, match="answers"):
        find_notice(odd.imds)


def test_two_refusals_of_the_token_are_an_error(odd: OddServer) -> None:
    """One retry, no more."""
    odd.answers = [(200, "token"), (401, ""), (200, "token"), (401, "")]
    with pytest.raises(AgentError, match="401"):
        odd.imds.find("instance-id")
    assert odd.answers == []


def test_silence_is_waited_for_no_longer_than_two_seconds(odd: OddServer) -> None:
    """A notice leaves two minutes."""
    odd.silent = True
    began = time.monotonic()
    with pytest.raises(AgentError, match="does not answer"):
        odd.imds.find("instance-id")
    assert time.monotonic() - began < client.ANSWER_SECONDS + 1
    odd.silent = False


class OddServer(HTTPServer):
    """Answers what a test wants, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OddHandler)
        self.answers: list[tuple[int, str]] = []
        self.date = "Thu, 01 Jan 2026 00:00:00 GMT"
        self.silent = False
        self.imds = Imds("127.0.0.1", self.server_address[1])


class _OddHandler(BaseHTTPRequestHandler):
    server: OddServer

    def do_GET(self) -> None:
        while self.server.silent:
            time.sleep(0.05)
        status, body = self.server.answers.pop(0) if self.server.answers else (500, "")
        self.send_response_only(status)
        self.send_header("Date", self.server.date)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_PUT = do_GET  # noqa: N815 (named by http.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named by http.server)
        """Say nothing."""


@pytest.fixture
def odd() -> Iterator[OddServer]:
    """A metadata service that is not well."""
    with running(OddServer()) as server:
        yield server


@contextmanager
def running(server: OddServer) -> Iterator[OddServer]:
    """A server that answers in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
