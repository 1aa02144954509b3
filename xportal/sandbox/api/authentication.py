"""Who sent a request: checked before anything else of it is looked at.

A request is for us by a name of ours, and from no web page; it is signed, now, over its body, by somebody known.
Codes and HTTP statuses are AWS's, which differ between EC2, the other query services and the JSON services.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from moto.core.utils import utcnow
from moto.iam.exceptions import NotFoundException
from moto.sts.models import AssumedRole
from werkzeug.wrappers import Request

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.backend import all_backends
from xportal.sandbox.api.engine import Engine
from xportal.sandbox.api.errors import JSON_SERVICES, Codes, RefusedError, refusal
from xportal.sandbox.api.faults import Faults
from xportal.sandbox.api.iam import users
from xportal.sandbox.api.iam.roles import find_assumed_role, policies_of
from xportal.sandbox.api.iam.session import Session
from xportal.sandbox.secret import Secret
from xportal.sandbox.sigv4 import TIME_FORMAT, canonical_request, signature

_OUR_HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.ASCII)
MAX_SKEW = timedelta(minutes=15)

_MISSING: Codes = (("AuthFailure", 401), ("MissingAuthenticationToken", 403), ("MissingAuthenticationToken", 403))
_INCOMPLETE: Codes = (("AuthFailure", 401), ("IncompleteSignature", 400), ("IncompleteSignatureException", 400))
UNKNOWN: Codes = (("AuthFailure", 401), ("InvalidClientTokenId", 403), ("UnrecognizedClientException", 400))
_TOKEN_EXPIRED: Codes = (("RequestExpired", 400), ("ExpiredToken", 403), ("ExpiredTokenException", 400))
_STALE: Codes = (("RequestExpired", 400), ("SignatureDoesNotMatch", 403), ("InvalidSignatureException", 400))
_FORGED: Codes = (("SignatureDoesNotMatch", 403), ("SignatureDoesNotMatch", 403), ("InvalidSignatureException", 400))

NOT_VALIDATED = "AWS was not able to validate the provided access credentials"
_NOT_THE_SAME = "The request signature we calculated does not match the signature you provided."

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/\s,]+)/"
    r"(?P<scope>(?P<day>\d{8})/(?P<region>[^/\s,]+)/(?P<service>[^/\s,]+)/aws4_request), *"
    r"SignedHeaders=(?P<headers>[^,\s]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
# An unsigned request names no service but by the version of its API.
_SERVICE_BY_VERSION = {"2010-05-08": "iam", "2011-06-15": "sts"}


@dataclass(frozen=True)
class Claim:
    """What the Authorization header says: whose signature it is, of which headers, for which service and region."""

    access_key: str
    scope: str
    day: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class _Key:
    """A known access key. `session` None is the account's user, who may do everything."""

    secret: str
    token: str = ""
    session: Session | None = None


def check_sender(request: Request) -> None:
    """RefusedError unless the request names us as its host, and no web page sent it.

    A web page reaches us by a name of its own that leads here (DNS rebinding), and its browser says where it is from.
    """
    host = request.headers.get("Host", "")
    if not _OUR_HOSTS.fullmatch(host):
        raise RefusedError("AuthFailure", f"The sandbox does not answer to the host {host!r}", 403)
    if "Origin" in request.headers:
        raise RefusedError("AuthFailure", "The sandbox does not answer to web pages", 403)


def read_claim(request: Request) -> Claim:
    """What the request says about its sender, not yet believed. RefusedError when it says nothing, or not in full."""
    header = request.headers.get("Authorization")
    if header is None:
        raise refusal(_service_of_unsigned(request), _MISSING, "Request is missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise refusal(_service_of_unsigned(request), _INCOMPLETE, NOT_VALIDATED)
    key, scope, day, region, service, headers, value = match.groups()
    return Claim(key, scope, day, region, service, tuple(headers.split(";")), value)


class Callers:
    """Those who are let in through one listener.

    The account's own user is known by `secret`; None: here only roles are let in, as within a machine. Roles, their
    sessions and IAM users are those of the API's records.
    """

    def __init__(self, engine: Engine, faults: Faults, secret: Secret | None) -> None:
        self._engine, self._faults, self._secret = engine, faults, secret

    def authenticate(self, request: Request, claim: Claim) -> Session | None:
        """Who signed the request: a role or an IAM user, or the account's own user (None).

        RefusedError when nobody known did, or not now. Reads the body, once all is right that can be seen without it.
        """
        with self._engine.lock:
            key = self._find(request, claim)
        _check_time(request, claim)
        if not _is_signed(request, claim, key.secret):
            raise refusal(claim.service, _FORGED, _NOT_THE_SAME)
        return key.session

    def _find(self, request: Request, claim: Claim) -> _Key:
        if self._secret and claim.access_key == self._secret.access_key_id:
            key = _Key(self._secret.secret_access_key)
        else:
            key = self._find_user(claim) or self._find_role(claim)
        if not hmac.compare_digest(request.headers.get("X-Amz-Security-Token", "").encode(), key.token.encode()):
            raise refusal(claim.service, UNKNOWN, NOT_VALIDATED)
        return key

    def _find_user(self, claim: Claim) -> _Key | None:
        """An IAM user's key, which is worth nothing within a machine, as that of the account's own user."""
        found = users.find_by_key(claim.access_key) if self._secret else None
        if found is None:
            return None
        user, key = found
        return _Key(key.secret_access_key, "", Session(user.arn, users.policies_of(user), user=user.name))

    def _find_role(self, claim: Claim) -> _Key:
        role = find_assumed_role(claim.access_key)
        if role is None or (self._faults.role_gone and _machine_of(claim.access_key)):
            raise refusal(claim.service, UNKNOWN, NOT_VALIDATED)
        if role.expiration <= utcnow():
            raise refusal(claim.service, _TOKEN_EXPIRED, "The security token included in the request is expired")
        return _Key(role.secret_access_key, role.session_token, _session(claim.service, role))


def _check_time(request: Request, claim: Claim) -> None:
    text = request.headers.get("X-Amz-Date", "")
    try:
        signed_at = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise refusal(claim.service, _INCOMPLETE, "The request needs an X-Amz-Date header") from error
    if claim.day != text[:8]:
        raise refusal(claim.service, _FORGED, "Date in Credential scope does not match the request's date")
    if abs(datetime.now(timezone.utc) - signed_at) > MAX_SKEW:  # this computer's own time, like the signer's
        raise refusal(claim.service, _STALE, f"Request has expired: signed at {text}, more than 15 minutes from now")


def _is_signed(request: Request, claim: Claim, secret_key: str) -> bool:
    """Whether the signature is this key's, over the body, the host and all that AWS gives a meaning to."""
    meaningful = {"host", *(name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-"))}
    if not meaningful <= set(claim.headers):
        return False
    headers = [(name, request.headers.get(name, "")) for name in claim.headers]
    canonical = canonical_request(
        request.method, request.path, request.args.items(multi=True), headers, request.get_data()
    )
    expected = signature(secret_key, claim.scope, request.headers["X-Amz-Date"], canonical)
    return hmac.compare_digest(expected, claim.signature)


def _service_of_unsigned(request: Request) -> str:
    """The service that a request without a signature is meant for."""
    if "X-Amz-Target" in request.headers:
        return JSON_SERVICES[0]
    return _SERVICE_BY_VERSION.get(request.values.get("Version", ""), "ec2")


def _session(service: str, role: AssumedRole) -> Session:
    """The role with its inline and attached policies, as of now."""
    try:
        policies = policies_of(role)
    except NotFoundException as error:
        raise refusal(service, UNKNOWN, NOT_VALIDATED) from error
    return Session(role.arn, policies, _machine_of(role.access_key_id))


def _machine_of(access_key: str) -> str:
    """The ARN of the instance that got these credentials from IMDS; nothing if somebody else has taken on the role."""
    for backend in all_backends():
        for instance in instances.all_instances(backend):
            if instance.credentials is not None and instance.credentials.access_key_id == access_key:
                return f"arn:{backend.partition}:ec2:{backend.region_name}:{backend.account_id}:instance/{instance.id}"
    return ""
