"""IMDS by its rules, without sockets: tokens, statuses, paths."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from http import HTTPStatus

import pytest

from tests.machines.lab import metadata
from xportal.sandbox.hardware import Metadata, Notice, RoleCredentials
from xportal.sandbox.hardware.imds import Answer, Imds

TTL = "x-aws-ec2-metadata-token-ttl-seconds"
MOMENT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
ROLE = RoleCredentials(
    "agent", "arn:aws:iam::123456789012:instance-profile/agent", "AKIA", "secret", "token", MOMENT, MOMENT
)


@dataclass
class Machine:
    """A machine's view of its IMDS, with a clock that is set by hand."""

    told: Metadata
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.imds = Imds(lambda: self.told, clock=lambda: self.now)

    def token(self, ttl: str = "60") -> str:
        return self.imds.answer("PUT", "/latest/api/token", {TTL: ttl}, from_machine=True).body.decode()

    def get(self, path: str, token: str | None = None) -> Answer:
        headers = {"x-aws-ec2-metadata-token": token or self.token()}
        return self.imds.answer("GET", f"/latest/{path}", headers, from_machine=True)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == HTTPStatus.OK, answer
        return answer.body.decode()


@pytest.fixture
def machine() -> Machine:
    """A spot machine with a key and no role."""
    return Machine(metadata())


def test_a_token_is_required_and_ends(machine: Machine) -> None:
    """No token and a late token are 401; a token lasts as long as was asked for."""
    assert machine.imds.answer("GET", "/latest/meta-data/", {}, from_machine=True).status == HTTPStatus.UNAUTHORIZED
    token = machine.token("60")
    machine.now += 59
    assert machine.get("meta-data/", token).status == HTTPStatus.OK
    machine.now += 1
    assert machine.get("meta-data/", token).status == HTTPStatus.UNAUTHORIZED
    assert machine.get("meta-data/", "made-up").status == HTTPStatus.UNAUTHORIZED


def test_without_a_required_token_version_1_answers(machine: Machine) -> None:
    """HttpTokens=optional is IMDSv1; a wrong token is still refused."""
    machine.told = metadata(http_tokens="optional")
    assert machine.imds.answer("GET", "/latest/meta-data/mac", {}, from_machine=True).status == HTTPStatus.OK
    assert machine.get("meta-data/mac", "made-up").status == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "ten"])
def test_a_wrong_ttl_is_a_bad_request(machine: Machine, ttl: str) -> None:
    """The time to live is 1 to 21600 seconds."""
    answer = machine.imds.answer("PUT", "/latest/api/token", {TTL: ttl}, from_machine=True)
    assert answer.status == HTTPStatus.BAD_REQUEST


def test_a_forwarded_request_gets_no_token(machine: Machine) -> None:
    """X-Forwarded-For marks an open proxy: 403."""
    headers = {TTL: "60", "x-forwarded-for": "10.0.0.1"}
    assert machine.imds.answer("PUT", "/latest/api/token", headers, from_machine=True).status == HTTPStatus.FORBIDDEN


def test_the_hop_limit_keeps_tokens_from_containers(machine: Machine) -> None:
    """The answer to a PUT from one hop further never arrives with a limit of 1; it does with 2."""
    ask = ("PUT", "/latest/api/token", {TTL: "60"}, False)
    assert machine.imds.answer(*ask) == Answer(None)
    machine.told = metadata(hop_limit=2)
    assert machine.imds.answer(*ask).status == HTTPStatus.OK


def test_a_switched_off_service_forbids_everything(machine: Machine) -> None:
    """HttpEndpoint=disabled is 403."""
    machine.told = metadata(http_endpoint="disabled")
    assert machine.imds.answer("PUT", "/latest/api/token", {TTL: "60"}, True).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("meta-data/instance-id", "i-0000"),
        ("meta-data/instance-type", "c5.large"),
        ("meta-data/placement/availability-zone", "us-east-1b"),
        ("meta-data/placement/region", "us-east-1"),
        ("meta-data/hostname", "ip-172-17-0-9.ec2.internal"),
        ("meta-data/local-ipv4", "172.17.0.9"),
        ("meta-data/public-ipv4", "127.77.0.9"),
        ("meta-data/public-keys/", "0=login"),
        ("meta-data/public-keys/0/", "openssh-key"),
        ("meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA login"),
        ("meta-data/block-device-mapping/ebs1", "/dev/sdf"),
        ("meta-data/services/partition", "aws"),
        ("meta-data/instance-life-cycle", "spot"),
        ("", "dynamic/\nmeta-data/"),
    ],
)
def test_what_stands_where(machine: Machine, path: str, text: str) -> None:
    """Files and directories as EC2 has them."""
    assert machine.text(path) == text


@pytest.mark.parametrize(
    "path",
    [
        "user-data",
        "meta-data/iam/security-credentials/",
        "meta-data/spot/instance-action",
        "meta-data/spot/termination-time",
        "meta-data/events/recommendations/rebalance",
        "meta-data/tags/instance",
        "meta-data/instance-id/more",
        "nothing",
    ],
)
def test_what_is_not_is_not_found(machine: Machine, path: str) -> None:
    """What did not happen, was not asked for or does not exist is 404."""
    assert machine.get(path).status == HTTPStatus.NOT_FOUND


def test_what_has_happened_is_found(machine: Machine) -> None:
    """User data, role, notices and tags appear while the machine runs."""
    machine.told = replace(
        machine.told,
        user_data=b"\x1f\x8b raw",
        role=ROLE,
        notice=Notice("terminate", MOMENT),
        rebalance=MOMENT,
        tags={"xportal:drive": "mine"},
    )
    assert machine.get("user-data").body == b"\x1f\x8b raw"
    assert machine.text("meta-data/iam/security-credentials/") == "agent"
    assert json.loads(machine.text("meta-data/iam/security-credentials/agent"))["SecretAccessKey"] == "secret"
    assert json.loads(machine.text("meta-data/spot/instance-action")) == {
        "action": "terminate",
        "time": "2026-05-06T07:08:09Z",
    }
    assert machine.text("meta-data/spot/termination-time") == "2026-05-06T07:08:09Z"
    assert machine.text("meta-data/events/recommendations/rebalance") == '{"noticeTime": "2026-05-06T07:08:09Z"}'
    assert machine.text("meta-data/tags/instance/xportal%3Adrive") == "mine"


def test_the_identity_document_names_account_and_zone(machine: Machine) -> None:
    """dynamic/instance-identity/document is JSON."""
    document = json.loads(machine.text("dynamic/instance-identity/document"))
    assert (document["accountId"], document["availabilityZone"]) == ("123456789012", "us-east-1b")


def test_dated_versions_answer_like_latest(machine: Machine) -> None:
    """cloud-init asks for the versions that it knows."""
    headers = {"x-aws-ec2-metadata-token": machine.token()}
    answer = machine.imds.answer("GET", "/2021-03-23/meta-data/instance-id", headers, from_machine=True)
    assert answer.body == b"i-0000"
    assert machine.imds.answer("GET", "/meta-data/mac", headers, from_machine=True).status == HTTPStatus.NOT_FOUND
