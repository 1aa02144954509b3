"""Whether the sender of a call may make it: a role what its policies allow, the account's user all but what a fault
forbids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.request_context import accesses
from xportal.sandbox.api.errors import Codes, RefusedError, refusal
from xportal.sandbox.api.faults import Faults
from xportal.sandbox.api.iam.policies import Access, allows
from xportal.sandbox.api.iam.roles import Session
from xportal.sandbox.api.sts import encoded

_FORBIDDEN: Codes = (("UnauthorizedOperation", 403), ("AccessDenied", 403), ("AccessDeniedException", 400))


def check_call(session: Session, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Evaluate the role's policies on everything the call touches. RefusedError names the first that is forbidden."""
    if (service, operation) == ("sts", "GetCallerIdentity"):
        return
    asked = _asked(service, operation, params, backend)
    sender = {"ec2:sourceinstancearn": session.machine} if session.machine else {}
    for access in asked:
        if not allows(session.policies, replace(access, context={**access.context, **sender})):
            raise refusal(
                service,
                _FORBIDDEN,
                f"You are not authorized to perform this operation. User: {session.arn} is not authorized to perform: "
                f"{access.action} on resource: {access.resource}",
            )


def check_user(faults: Faults, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Whether a fault forbids it to the account's user. EC2 has two ways to say so: in words and encoded, or encoded
    alone, as older accounts' tools know it. They come by turns.
    """
    fault = faults.find_prohibition(operation)
    if fault is None:
        return
    access = next(iter(_asked(service, operation, params, backend)))
    user = f"arn:{backend.partition}:iam::{backend.account_id}:user/somebody"
    words = (
        f"User: {user} is not authorized to perform: {access.action} on resource: {access.resource} because no "
        f"identity-based policy allows the {access.action} action"
    )
    if service != "ec2":
        raise refusal(service, _FORBIDDEN, words)
    told = encoded(
        {
            "allowed": False,
            "explicitDeny": False,
            "matchedStatements": {"items": []},
            "context": {"principal": {"arn": user}, "action": access.action, "resource": access.resource},
        }
    )
    said = f"{words}. " if fault.hits % 2 else ""
    raise RefusedError(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. {said}Encoded authorization failure message: {told}",
        403,
    )


def _asked(service: str, operation: str, params: Any, backend: Ec2Backend) -> Iterable[Access]:
    return accesses(operation, params, backend) if service == "ec2" else [Access(f"{service}:{operation}", "*")]
