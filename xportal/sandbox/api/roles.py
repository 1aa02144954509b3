"""Calls made with a role: what it may do is what the role's policies allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from xportal.sandbox.api.authorization import accesses
from xportal.sandbox.api.backend import Ec2Backend
from xportal.sandbox.api.errors import Codes, refusal
from xportal.sandbox.api.policies import Access, Policy, allows

_FORBIDDEN: Codes = (("UnauthorizedOperation", 403), ("AccessDenied", 403), ("AccessDeniedException", 400))


@dataclass(frozen=True)
class Session:
    """A role that somebody, as a rule a machine, has taken on."""

    arn: str
    policies: tuple[Policy, ...]
    machine: str = ""  # the ARN of the instance that got these credentials from IMDS


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
