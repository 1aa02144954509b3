"""Who is let in: the sandbox's user and its machines' roles, by a signature; nobody else, whatever they send."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config

from tests.contract.conftest import Account, Refusal, Refuse
from tests.contract.test_roles import Machine, machine  # noqa: F401 (a fixture)
from tests.user import SECRET, Signing, make_client
from xportal.errors import Refused
from xportal.sandbox import admin
from xportal.sandbox.secret import Secret
from xportal.sandbox.sigv4 import TIME_FORMAT, canonical_request, sign, signature

DESCRIBE = {"Action": "DescribeVolumes", "Version": "2016-11-15"}
BODY = b"Action=DescribeVolumes&Version=2016-11-15"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
QUESTIONS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "ec2": lambda client: client.describe_volumes,
    "iam": lambda client: client.list_roles,
    "sts": lambda client: client.get_caller_identity,
    "ssm": lambda client: lambda: client.get_parameter(Name="/x"),
}
LATE = {
    "ec2": ("RequestExpired", 400),
    "iam": ("SignatureDoesNotMatch", 403),
    "sts": ("SignatureDoesNotMatch", 403),
    "ssm": ("InvalidSignatureException", 400),
}


def answer_to(account: Account, **given: Any) -> requests.Response:
    """What the API answers to a request for EC2's volumes, signed well but for what is given."""
    url = given.pop("url", account.cloud.endpoint_url)
    request = {"data": DESCRIBE, "auth": Signing("ec2"), "timeout": 10, **given}
    return requests.post(url, **request)


def refusal_of(answer: requests.Response) -> tuple[str, int]:
    """The code in an error document, and HTTP's status."""
    code = re.search(r'<Code>([^<]+)</Code>|"__type": "([^"]+)"', answer.text)
    assert code, answer.text
    return code[1] or code[2], answer.status_code


def signed_at(account: Account, moment: datetime, service: str = "ec2", **changes: str) -> requests.Response:
    """The answer to a request that is right but for the moment, and the headers changed after it was signed."""
    url = account.cloud.endpoint_url
    headers = sign(
        SECRET.access_key_id,
        SECRET.secret_access_key,
        region="us-east-1",
        service=service,
        method="POST",
        host=url.removeprefix("http://"),
        path="/",
        body=BODY,
        now=moment,
    )
    return requests.post(url, data=BODY, headers={**FORM, **headers, **changes}, timeout=10)


def ask_with(account: Account, service: str, secret: Secret, refused: Refuse, token: str | None = None) -> Refusal:
    """The refusal of a service's question, asked by AWS's SDK with this key."""
    client = make_client(
        service,
        region_name="us-east-1",
        endpoint_url=account.cloud.endpoint_url,
        aws_access_key_id=secret.access_key_id,
        aws_secret_access_key=secret.secret_access_key,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )
    return refused(QUESTIONS[service](client))


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("ec2", "AuthFailure", 401),
        ("iam", "MissingAuthenticationToken", 403),
        ("sts", "MissingAuthenticationToken", 403),
        ("ssm", "MissingAuthenticationToken", 403),
    ],
)
def test_requests_are_signed(account: Account, refused: Refuse, service: str, code: str, status: int) -> None:
    """An unsigned request is refused, in the words of its service."""
    config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1})
    unsigned = make_client(service, region_name="us-east-1", endpoint_url=account.cloud.endpoint_url, config=config)
    no = refused(QUESTIONS[service](unsigned))
    assert (no.code, no.status) == (code, status)


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("ec2", "AuthFailure", 401),
        ("iam", "InvalidClientTokenId", 403),
        ("sts", "InvalidClientTokenId", 403),
        ("ssm", "UnrecognizedClientException", 400),
    ],
)
def test_the_key_is_known(account: Account, refused: Refuse, service: str, code: str, status: int) -> None:
    """A key that is not the user's and no role's is refused, and so is the user's with a session token."""
    for secret, token in ((Secret("AKIAOTHER", SECRET.secret_access_key), None), (SECRET, "token")):
        no = ask_with(account, service, secret, refused, token)
        assert (no.code, no.status) == (code, status)


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("ec2", "SignatureDoesNotMatch", 403),
        ("iam", "SignatureDoesNotMatch", 403),
        ("sts", "SignatureDoesNotMatch", 403),
        ("ssm", "InvalidSignatureException", 400),
    ],
)
def test_the_secret_is_right(account: Account, refused: Refuse, service: str, code: str, status: int) -> None:
    """The user's key id with another secret is refused."""
    no = ask_with(account, service, replace(SECRET, secret_access_key="other"), refused)
    assert (no.code, no.status) == (code, status)


def test_the_signature_is_over_all_that_counts(account: Account) -> None:
    """What was changed after the signing, body, query, path, headers that mean something, is refused."""
    now = datetime.now(timezone.utc)
    assert signed_at(account, now).status_code == 200
    forged = ("SignatureDoesNotMatch", 403)

    class Changing(Signing):
        def __init__(self, **changes: Any) -> None:
            super().__init__("ec2")
            self.changes = changes

        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            super().__call__(request).prepare_headers({**request.headers, **self.changes.pop("headers", {})})
            for name, value in self.changes.items():
                setattr(request, name, value)
            return request

    url = f"{account.cloud.endpoint_url}/"
    assert answer_to(account, auth=Changing()).status_code == 200
    for change in (
        {"body": "Action=DescribeVolumes&Version=2016-11-16"},
        {"url": f"{url}?DryRun=true"},
        {"url": f"{url}other"},
        {"method": "PUT"},
        {"headers": {"X-Amz-Date": (now + timedelta(seconds=7)).strftime(TIME_FORMAT)}},
        {"headers": {"X-Amz-Target": "AmazonSSM.GetParameter"}},
        {"headers": {"Host": "localhost"}},
    ):
        assert refusal_of(answer_to(account, auth=Changing(**change))) == forged, change


@pytest.mark.parametrize("service", list(LATE))
def test_a_signature_lasts_fifteen_minutes(account: Account, service: str) -> None:
    """Signed more than 15 minutes ago or ahead is refused, in the words of the service."""
    now = datetime.now(timezone.utc)
    for minutes in (-16, 16):
        assert refusal_of(signed_at(account, now + timedelta(minutes=minutes), service)) == LATE[service]
    for minutes in (-14, 14):
        assert refusal_of_or_ok(signed_at(account, now + timedelta(minutes=minutes), service)) != LATE[service]


def refusal_of_or_ok(answer: requests.Response) -> tuple[str, int]:
    return ("", 200) if answer.status_code == 200 else refusal_of(answer)


def test_a_signature_has_its_time(account: Account) -> None:
    """Without a time, or with one that is none, or of another day than the key's scope, it is refused."""
    now = datetime.now(timezone.utc)
    for wrong in ("", "yesterday", now.strftime("%Y-%m-%d")):
        assert refusal_of(signed_at(account, now, **{"X-Amz-Date": wrong})) == ("AuthFailure", 401)
    tomorrow = f"{now + timedelta(days=1):%Y%m%d}"
    headers = dict(signed_at(account, now).request.headers)
    headers["Authorization"] = headers["Authorization"].replace(f"{now:%Y%m%d}/", f"{tomorrow}/")
    answer = requests.post(account.cloud.endpoint_url, data=BODY, headers=headers, timeout=10)
    assert refusal_of(answer) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize("header", ["", "Basic eDp5", "AWS4-HMAC-SHA256 Credential=AKIA", "AWS AKIA:c2ln"])
def test_noise_is_no_signature(account: Account, header: str) -> None:
    """An Authorization header of another kind, or a part of one, is refused."""
    answer = requests.post(account.cloud.endpoint_url, data=BODY, headers={"Authorization": header}, timeout=10)
    assert refusal_of(answer) == ("AuthFailure", 401)


def test_a_browser_gets_an_error_document(account: Account) -> None:
    """A plain GET is an AuthFailure document."""
    assert refusal_of(requests.get(account.cloud.endpoint_url, timeout=5)) == ("AuthFailure", 401)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "[::1]", "127.0.0.1:x", ""]
)
def test_only_our_own_names_are_a_host(account: Account, host: str) -> None:
    """A request with a foreign Host, as after DNS rebinding, is refused though it is signed, with that host."""
    answer = answer_to(account, headers={"Host": host})
    assert refusal_of(answer) == ("AuthFailure", 403)
    answer = account.ask_admin("GET", "status", headers={"Host": host})
    assert (answer.status_code, "host" in answer.json()["error"]) == (403, True)


def test_localhost_is_one_of_our_names(account: Account) -> None:
    """The address and its usual name, with whatever port led here."""
    for host in ("127.0.0.1", "localhost", f"localhost:{account.cloud.port}", "127.0.0.1:1"):
        assert answer_to(account, headers={"Host": host}).status_code == 200, host


def test_no_web_page_is_answered(account: Account) -> None:
    """A request with an Origin is refused though it is signed."""
    for origin in ("http://evil.example", account.cloud.endpoint_url, "null"):
        assert refusal_of(answer_to(account, headers={"Origin": origin})) == ("AuthFailure", 403)
        assert account.ask_admin("GET", "status", headers={"Origin": origin}).status_code == 403


ADMIN_ROUTES = [
    ("GET", "status"),
    ("GET", "calls"),
    ("DELETE", "calls"),
    ("GET", "faults"),
    ("POST", "faults"),
    ("DELETE", "faults"),
    ("POST", "interrupt"),
    ("POST", "settings"),
    ("GET", "nothing"),
]


@pytest.mark.parametrize(("method", "route"), ADMIN_ROUTES)
def test_admin_routes_are_for_the_user(account: Account, method: str, route: str) -> None:
    """Unsigned, with a wrong secret, or signed for EC2: refused before the route is looked at."""
    url = f"{account.cloud.endpoint_url}/_xportal/{route}"
    for auth in (None, Signing(admin.SERVICE, replace(SECRET, secret_access_key="x")), Signing("ec2")):
        answer = requests.request(method, url, auth=auth, timeout=5)
        assert answer.status_code in (401, 403), (auth, answer.text)
        assert set(answer.json()) == {"error"}
    with pytest.raises(Refused, match="signature"):
        admin.call(account.cloud.endpoint_url, replace(SECRET, secret_access_key="x"), method, route)


def test_a_role_is_no_admin(machine: Machine) -> None:  # noqa: F811
    """A machine's credentials, signed for the admin routes, are refused."""
    role = machine.account.cloud.metadata(machine.id).role
    assert role
    signing = Signing(admin.SERVICE, Secret(role.access_key_id, role.secret_access_key), role.token)
    answer = requests.get(f"{machine.account.cloud.endpoint_url}/_xportal/status", auth=signing, timeout=5)
    assert (answer.status_code, answer.json()) == (403, {"error": "only the sandbox's user may do this"})


@pytest.fixture
def inside(account: Account) -> Iterator[str]:
    """The URL of the listener that a machine has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = account.cloud.serve(listener)
    yield url
    serving.close()
    serving.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_within_a_machine_only_a_role_is_let_in(account: Account, machine: Machine, inside: str) -> None:  # noqa: F811
    """There the user's own key is unknown, as any other; there are no admin routes; the role's key works."""
    assert refusal_of(answer_to(account, url=inside)) == ("AuthFailure", 401)
    assert refusal_of(answer_to(account, url=inside, auth=None)) == ("AuthFailure", 401)
    answer = requests.get(f"{inside}/_xportal/status", auth=Signing(admin.SERVICE), timeout=5)
    assert (answer.status_code, "instances" in answer.text) == (400, False)
    role = account.cloud.metadata(machine.id).role
    assert role
    secret = Secret(role.access_key_id, role.secret_access_key)
    assert answer_to(account, url=inside, auth=Signing("ec2", secret, role.token)).status_code == 200
    assert refusal_of(answer_to(account, url=inside, auth=Signing("ec2", secret))) == ("AuthFailure", 401)


def test_who_is_not_let_in_leaves_no_trace(account: Account) -> None:
    """A refused request uses up no fault, and stands in no log; the user's next call meets the fault."""
    account.cloud.add_fault("throttle", count=1)
    assert refusal_of(answer_to(account, auth=None)) == ("AuthFailure", 401)
    assert account.admin("GET", "calls")["calls"] == []
    assert refusal_of(answer_to(account)) == ("RequestLimitExceeded", 503)


def test_a_body_has_a_limit(account: Account) -> None:
    """A body of more than a megabyte is not read: 413."""
    answer = answer_to(account, data=b"x" * (1024**2 + 1))
    assert (answer.status_code, "RequestEntityTooLarge" in answer.text) == (413, True)
    assert account.ask_admin("POST", "settings", data=b"x" * (1024**2 + 1)).status_code == 413


def test_our_signature_is_aws_s() -> None:
    """What we sign is what AWS's SDK signs; and the example of AWS's documentation has its signature."""
    request = requests.Request("POST", "http://127.0.0.1:1/_xportal/a", data=b"{}").prepare()
    theirs = Signing("xportal")(request).headers
    moment = datetime.strptime(theirs["X-Amz-Date"], TIME_FORMAT)
    given = {"region": "us-east-1", "service": "xportal", "method": "POST", "path": "/_xportal/a", "body": b"{}"}
    ours = sign(SECRET.access_key_id, SECRET.secret_access_key, host="127.0.0.1:1", now=moment, **given)  # type: ignore[arg-type]
    assert ours["Authorization"] == theirs["Authorization"]

    headers = [
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("host", "iam.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
    ]
    query = [("Version", "2010-05-08"), ("Action", "ListUsers")]
    canonical = canonical_request("GET", "/", query, headers, b"")
    made = signature(
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830/us-east-1/iam/aws4_request", "20150830T123600Z", canonical
    )
    assert made == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
