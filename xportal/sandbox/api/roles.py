"""Calls made with a role: a machine's credentials are checked, and what it may do is what the role's policies allow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends
from werkzeug.wrappers import Request

from xportal.sandbox.api import instances
from xportal.sandbox.api.authorization import accesses
from xportal.sandbox.api.backend import Ec2Backend, all_backends
from xportal.sandbox.api.errors import RefusedError
from xportal.sandbox.api.faults import Faults
from xportal.sandbox.api.policies import Access, Policy, allows
from xportal.sandbox.api.signatures import is_signed

# Code and HTTP status: of EC2, of the other query services, of the JSON services.
_UNKNOWN = (("AuthFailure", 401), ("InvalidClientTokenId", 403), ("UnrecognizedClientException", 400))
_EXPIRED = (("RequestExpired", 400), ("ExpiredToken", 403), ("ExpiredTokenException", 400))
_FORGED = (("SignatureDoesNotMatch", 403), ("SignatureDoesNotMatch", 403), ("InvalidSignatureException", 400))
_FORBIDDEN = (("UnauthorizedOperation", 403), ("AccessDenied", 403), ("AccessDeniedException", 400))
_JSON = ("ec2-instance-connect", "ssm")


@dataclass(frozen=True)
class Session:
    """A role that somebody, as a rule a machine, has taken on."""

    arn: str
    policies: tuple[Policy, ...]


def find_session(request: Request, service: str, access_key: str, faults: Faults) -> Session | None:
    """Whose credentials signed the request: a role's, or the account's user's (None), of whom nothing is checked.

    RefusedError for a role's that are unknown, expired or do not fit the signature.
    """
    if not access_key.startswith("ASIA"):
        return None
    role = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].get_assumed_role_from_access_key(access_key)
    if (
        role is None
        or request.headers.get("X-Amz-Security-Token") != role.session_token
        or (faults.role_gone and _is_a_machine_s(access_key))
    ):
        raise _refusal(service, _UNKNOWN, "AWS was not able to validate the provided access credentials")
    if role.expiration <= utcnow():
        raise _refusal(service, _EXPIRED, "The security token included in the request is expired")
    if not is_signed(request, role.secret_access_key):
        raise _refusal(service, _FORGED, "The request signature we calculated does not match the one you provided.")
    return Session(role.arn, _policies(service, role))


def check_call(session: Session, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Evaluate the role's policies on everything the call touches. RefusedError names the first that is forbidden."""
    if (service, operation) == ("sts", "GetCallerIdentity"):
        return
    asked = accesses(operation, params, backend) if service == "ec2" else [Access(f"{service}:{operation}", "*")]
    for access in asked:
        if not allows(session.policies, access):
            raise _refusal(
                service,
                _FORBIDDEN,
                f"You are not authorized to perform this operation. User: {session.arn} is not authorized to perform: "
                f"{access.action} on resource: {access.resource}",
            )


def _policies(service: str, role: AssumedRole) -> tuple[Policy, ...]:
    """The role's inline and attached policies, as of now."""
    try:
        record = iam_backends[role.account_id][role.partition].get_role_by_arn(role.role_arn)
    except NotFoundException as error:
        raise _refusal(service, _UNKNOWN, "AWS was not able to validate the provided access credentials") from error
    attached = (version for policy in record.managed_policies.values() for version in policy.versions)
    texts = [*record.policies.values(), *(version.document for version in attached if version.is_default)]
    return tuple(json.loads(text) for text in texts)


def _is_a_machine_s(access_key: str) -> bool:
    """Whether an instance got these credentials from IMDS."""
    machines = (instance for backend in all_backends() for instance in instances.all_instances(backend))
    return any(i.credentials is not None and i.credentials.access_key_id == access_key for i in machines)


def _refusal(service: str, codes: tuple[tuple[str, int], ...], message: str) -> RefusedError:
    code, status = codes[0 if service == "ec2" else 2 if service in _JSON else 1]
    return RefusedError(code, message, status)
