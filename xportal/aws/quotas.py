"""How many vCPUs an account may have at once: by market and by family of types, in each region."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xportal import foreign
from xportal.aws.answers import understood
from xportal.aws.errors import AwsError
from xportal.aws.session import Aws
from xportal.errors import Unreachable

SERVICE = "ec2"
_FAMILY = re.compile(r"[a-z]+")
_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
# By family of types, as the EC2 User Guide groups them, and spot or not: the quota's code, and its name in the console.
_QUOTAS = {
    ("standard", True): ("L-34B43A08", f"All {_STANDARD} Spot Instance Requests"),
    ("standard", False): ("L-1216C47A", f"Running On-Demand {_STANDARD} instances"),
    ("g", True): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("g", False): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("p", True): ("L-7212CCBC", "All P Spot Instance Requests"),
    ("p", False): ("L-417A185B", "Running On-Demand P instances"),
}
_GROUPS = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), "standard"),
    **dict.fromkeys(("g", "gr", "vt"), "g"),
    "p": "p",
}


@dataclass(frozen=True)
class Quota:
    """A quota of vCPUs; `vcpus` is None where AWS does not say, and `why` says why it does not."""

    code: str
    name: str
    vcpus: int | None = None
    why: str = ""


def quota_of(instance_type: str, *, spot: bool) -> Quota | None:
    """Which quota a type counts against; None of families that xportal does not know."""
    family = _FAMILY.match(instance_type)
    group = _GROUPS.get(family[0]) if family else None
    return Quota(*_QUOTAS[group, spot]) if group else None


def ask_quota(aws: Aws, quota: Quota) -> Quota:
    """The same with the account's number, or why it is not known. Asked once: it is worth no wait, and no failure."""
    try:
        answer = aws.call(aws.service_quotas().get_service_quota, ServiceCode=SERVICE, QuotaCode=quota.code)
        with understood("the quota"):
            vcpus = foreign.amount(str(answer["Quota"]["Value"]))
    except (AwsError, Unreachable) as error:
        return Quota(quota.code, quota.name, None, error.message)
    return Quota(quota.code, quota.name, None if vcpus is None else int(vcpus))


def how_to_raise(aws: Aws, quota: Quota, vcpus: int) -> str:
    """Where to ask for so many."""
    return (
        f"https://{aws.region}.console.aws.amazon.com/servicequotas/home/services/{SERVICE}/quotas/{quota.code}, or: "
        f"aws service-quotas request-service-quota-increase --region {aws.region} --service-code {SERVICE} "
        f"--quota-code {quota.code} --desired-value {vcpus}"
    )
