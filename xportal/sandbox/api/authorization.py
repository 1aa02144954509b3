"""Whether the sender of a call may make it: the account's own user may do all but what a fault forbids, others what
their policies allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.request_context import Touched, touched
from xportal.sandbox.api.errors import Codes, RefusedError, refusal
from xportal.sandbox.api.faults import Faults
from xportal.sandbox.api.iam.policies import Access, allows, allows_somewhere
from xportal.sandbox.api.iam.reference import ANY, arn_of, kinds_of, known, prefix_of
from xportal.sandbox.api.iam.session import Session
from xportal.sandbox.api.sts import encoded

_FORBIDDEN: Codes = (("UnauthorizedOperation", 403), ("AccessDenied", 403), ("AccessDeniedException", 400))
# Calls of IAM that tag what they make need the action that tags as well.
_TAGGING = {"CreateInstanceProfile": "TagInstanceProfile", "CreateRole": "TagRole", "CreateUser": "TagUser"}
# By which parameter a call of another service than EC2 names a resource of which kind.
_NAMED_BY = {
    "iam": {"InstanceProfileName": "instance-profile", "RoleName": "role", "UserName": "user"},
    "ec2-instance-connect": {"InstanceId": "instance"},
    "ssm": {"Name": "parameter"},
}


def check_call(session: Session, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Evaluate the sender's policies on everything the call touches. RefusedError names the first that is forbidden."""
    if (service, operation) == ("sts", "GetCallerIdentity"):
        return
    for one in _asked(service, operation, params, backend):
        if not _may(session, one, backend):
            raise refusal(
                service,
                _FORBIDDEN,
                f"You are not authorized to perform this operation. User: {session.arn} is not authorized to perform: "
                f"{one.action} on resource: {one.arn}",
            )


def check_user(faults: Faults, service: str, operation: str, params: Any, backend: Ec2Backend) -> None:
    """Whether a fault forbids it to the account's user. EC2 has two ways to say so: in words and encoded, or encoded
    alone, as older accounts' tools know it. They come by turns.
    """
    fault = faults.find_prohibition(operation)
    if fault is None:
        return
    one = next(iter(_asked(service, operation, params, backend)))
    user = f"arn:{backend.partition}:iam::{backend.account_id}:user/somebody"
    words = (
        f"User: {user} is not authorized to perform: {one.action} on resource: {one.arn} because no "
        f"identity-based policy allows the {one.action} action"
    )
    if service != "ec2":
        raise refusal(service, _FORBIDDEN, words)
    told = encoded(
        {
            "allowed": False,
            "explicitDeny": False,
            "matchedStatements": {"items": []},
            "context": {"principal": {"arn": user}, "action": one.action, "resource": one.arn},
        }
    )
    said = f"{words}. " if fault.hits % 2 else ""
    raise RefusedError(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. {said}Encoded authorization failure message: {told}",
        403,
    )


def _asked(service: str, operation: str, params: Any, backend: Ec2Backend) -> Iterable[Touched]:
    return touched(operation, params, backend) if service == "ec2" else _touched(service, operation, params, backend)


def _may(session: Session, one: Touched, backend: Ec2Backend) -> bool:
    """Of what is not there nothing is known: the call itself says that, to those who may make it on anything."""
    if not one.is_there:
        return allows_somewhere(session.policies, one.action)
    region: dict[str, str] = {"ec2:region": backend.region_name}
    context = known(one.action, one.kind, {**region, **one.context})
    globally = {"aws:requestedregion": backend.region_name, "aws:principalarn": session.arn,
                "aws:principalaccount": backend.account_id}  # fmt: skip
    if session.machine:
        globally["ec2:sourceinstancearn"] = session.machine
    if session.user:
        globally["aws:username"] = session.user
    return allows(session.policies, Access(one.action, one.arn, {**context, **globally}))


def _touched(service: str, operation: str, params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Touched]:
    """What a service other than EC2 evaluates: the resources that its parameters name, else "*"."""
    prefix = prefix_of(service)
    action = f"{prefix}:{operation}"
    tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags", []) if isinstance(tag, Mapping)}
    wanted: dict[str, Any] = {f"aws:requesttag/{key}".lower(): value for key, value in tags.items()}
    if tags:
        wanted["aws:tagkeys"] = tuple(tags)
    if "InstanceOSUser" in params:
        wanted["ec2:osuser"] = params["InstanceOSUser"]
    if "AWSServiceName" in params:
        wanted["iam:awsservicename"] = params["AWSServiceName"]
    actions = [action, *([f"iam:{_TAGGING[operation]}"] if tags and operation in _TAGGING else [])]
    for one in actions:
        kinds = kinds_of(one)
        named = [("role", f"aws-service-role/{of}/*")] if (of := params.get("AWSServiceName")) else []
        named += [(k, params[p]) for p, k in _NAMED_BY.get(service, {}).items() if p in params and k in kinds]
        for kind, name in named:
            yield Touched(one, kind, _arn(prefix, kind, name, backend), {**wanted, **_had(service, name, backend)})
        if not named:
            yield Touched(one, ANY, "*", wanted)


def _had(service: str, name: str, backend: Ec2Backend) -> dict[str, str]:
    tags = backend.tags.get(name, {}) if service == "ec2-instance-connect" else {}
    return {f"{owner}:resourcetag/{key}".lower(): tags[key] for owner in ("aws", "ec2") for key in tags}


def _arn(prefix: str, kind: str, name: str, backend: Ec2Backend) -> str:
    place = {"Partition": backend.partition, "Region": backend.region_name, "Account": backend.account_id}
    if prefix == "ssm" and name.startswith("/aws/service/"):
        place["Account"] = ""  # the public parameters are AWS's own
    own = "ec2" if prefix == "ec2-instance-connect" else prefix
    return arn_of(own, kind, place, name.lstrip("/"))
