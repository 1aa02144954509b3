"""What an account may launch: how many vCPUs of a family, and what AWS refuses new, free and blocked accounts."""

from __future__ import annotations

import re
from datetime import timedelta

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.iam.models import iam_backends

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.catalogue import get_type
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.instances import all_instances
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.launch import Launch
from xportal.sandbox.api.faults import Fault

SPOT_ROLE = "AWSServiceRoleForEC2Spot"
PLENTY = 1152  # vCPUs, where no fault sets another quota

# By code: the family of types, spot or not, and the name. EC2 User Guide, On-Demand Instance and Spot Instance quotas.
_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
QUOTAS = {
    "L-34B43A08": ("standard", True, f"All {_STANDARD} Spot Instance Requests"),
    "L-1216C47A": ("standard", False, f"Running On-Demand {_STANDARD} instances"),
    "L-3819A6DF": ("g", True, "All G and VT Spot Instance Requests"),
    "L-DB2E81BA": ("g", False, "Running On-Demand G and VT instances"),
    "L-7212CCBC": ("p", True, "All P Spot Instance Requests"),
    "L-417A185B": ("p", False, "Running On-Demand P instances"),
}
_OTHERS = {"g": "g", "gr": "g", "vt": "g", "p": "p"}

_REFUSALS = {
    "pending-verification": (
        "PendingVerification",
        "Your request for accessing resources in this region is being validated, and you will not be able to launch "
        "additional resources in this region until the validation is complete. We will notify you by email once your "
        "request has been validated. While normally resolved within minutes, please allow up to 4 hours for this "
        "process to complete. If the issue still persists, please let us know by writing to "
        "aws-verification@amazon.com for further assistance.",
        400,
    ),
    "blocked": (
        "Blocked",
        "This account is currently blocked and not recognized as a valid account. Please contact AWS Support if you "
        "have questions.",
        400,
    ),
}


def check_account(backend: Ec2Backend, launch: Launch) -> None:
    """Whether the account may launch this, as far as faults say that it may not. Changes nothing; raises ApiError."""
    for problem, refusal in _REFUSALS.items():
        if backend.faults.has_problem(problem):
            raise ApiError(*refusal)
    if backend.faults.has_problem("free-plan") and not INSTANCE_TYPES[launch.type.name].get("FreeTierEligible"):
        raise ApiError(
            "InvalidParameterCombination",
            "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run "
            "'describe-instance-types' with the filter 'free-tier-eligible=true'.",
        )
    if launch.spot is not None and backend.faults.has_problem("no-spot-role") and not _has_spot_role():
        raise ApiError(
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.",
            403,
        )
    _check_quota(backend, launch)


def _has_spot_role() -> bool:
    return any(role.name == SPOT_ROLE for role in iam_backends[DEFAULT_ACCOUNT_ID]["aws"].roles.values())


def _check_quota(backend: Ec2Backend, launch: Launch) -> None:
    spot = launch.spot is not None
    fault = backend.faults.find_quota(family_of(launch.type.name), spot=spot)
    if fault is None:
        return
    if launch.type.vcpus * launch.count + _used(backend, launch, fault) <= fault.vcpus:
        return
    fault.hits += 1
    if spot:
        raise ApiError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    raise ApiError(
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {fault.vcpus:g} allows for the "
        "instance bucket that the specified instance type belongs to. Please visit "
        "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    )


def _used(backend: Ec2Backend, launch: Launch, fault: Fault) -> int:
    """The vCPUs that count: those of machines that have just been terminated still do, for the fault's seconds."""
    lag = timedelta(seconds=fault.seconds)

    def counts(instance: Instance) -> bool:
        return instance.terminated_at is None or utcnow() - instance.terminated_at < lag

    return sum(
        get_type(instance.instance_type).vcpus
        for instance in all_instances(backend)
        if (instance.lifecycle == "spot") is (launch.spot is not None)
        and family_of(instance.instance_type) == family_of(launch.type.name)
        and counts(instance)
    )


def family_of(instance_type: str) -> str:
    """Which quota's types it is one of: `standard`, `g` or `p`."""
    letters = re.match(r"[a-z]+", instance_type)
    return _OTHERS.get(letters[0] if letters else "", "standard")
