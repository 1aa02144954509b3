"""The sandbox is an endpoint URL and a profile: nothing in the client knows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from tests.stories.conftest import User
from tests.stories.recorder import recording
from xportal.cli.options import SANDBOX_PROFILE
from xportal.sandbox import admin
from xportal.sandbox.profile import PROFILE

pytestmark = pytest.mark.machine

OWN = [
    (r"\b(i|vol|snap|key|sg|subnet|vpc|ami|eni|sir)-[0-9a-f]+\b", "ID"),
    (r"\b[0-9a-f]{16,64}\b", "HEX"),  # launch ids, client tokens
    (r"ssh-ed25519 \S+", "KEY"),
    (r"<\d+ bytes>", "BYTES"),
    (r"(generation\W+(\"Value\": \")?)\d+", r"\1N"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\"]*", "TIME"),
]


def calls(user: User, endpoint: str) -> list[str]:
    """One job; the calls it made, in order, each once (polls differ in number), ids aside."""
    admin.call(endpoint, user.secret, "DELETE", "calls")
    user.types("up", "same", "--cpu", "--size", "2")
    user.types("ps", "same")
    user.types("status")
    user.types("down", "same")
    user.types("sweep")
    log = []
    for call in admin.call(endpoint, user.secret, "GET", "calls")["calls"]:
        text = f"{call['service']} {call['operation']} {json.dumps(call['parameters'], sort_keys=True)}"
        for pattern, name in OWN:
            text = re.sub(pattern, name, text)
        log.append(text)
    return list(dict.fromkeys(log))


@pytest.mark.all
def test_same_calls_at_another_endpoint(user: User) -> None:
    """The same commands make the same calls, whether the endpoint is the sandbox or one of another name."""
    endpoint = user.asks("sandbox", "status")["endpoint_url"]
    user.types("up", "same", "--cpu", "--size", "2")  # so that both jobs find one snapshot at least
    user.types("down", "same")
    direct = calls(user, endpoint)
    with recording(endpoint) as recorder:
        config = user.home / ".aws" / "config"
        credentials = user.home / ".aws" / "credentials"
        config.write_text(f"{config.read_text()}\n[profile work]\nregion = us-east-1\nendpoint_url = {recorder.url}\n")
        user.write_keys(credentials, "work")
        recorded = calls(replace(user, profile="work"), endpoint)
        assert len(recorder.lines) >= len(recorded) > 20
    assert recorded == direct


def test_one_name() -> None:
    """`--sandbox` means the profile that the sandbox writes."""
    assert SANDBOX_PROFILE == PROFILE
