"""Whether the sender of a call may make it: the account's user may do all, a role what its policies allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.request_context import accesses
from xportal.sandbox.api.errors import Codes, refusal
from xportal.sandbox.api.iam.policies import Access, allows
from xportal.sandbox.api.iam.roles import Session

_FORBIDDEN: Codes = (("UnauthorizedOperation", 403), ("AccessDenied", 403), ("AccessDeniedException", 400))


def check_call(session: Session, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Evaluate the role's policies on everything the call touches. RefusedError names the first that is forbidden."""
    if (service, operation) == ("sts", "GetCallerIdentity"):
        return
    asked = accesses(operation, params, backend) if service == "ec2" else [Access(f"{service}:{operation}", "*")]
    sender = {"ec2:sourceinstancearn": session.machine} if session.machine else {}
    for access in asked:
        if not allows(session.policies, replace(access, context={**access.context, **sender})):
            raise refusal(
                service,
                _FORBIDDEN,
                f"You are not authorized to perform this operation. User: {session.arn} is not authorized to perform: "
                f"{access.action} on resource: {access.resource}",
            )
