"""What an account may not launch, by its quota of vCPUs and its plan: a refusal holds for more offers than one."""

from __future__ import annotations

from xportal.aws import catalogue, compute
from xportal.aws.errors import AwsError
from xportal.aws.quotas import Quota, ask_quota, how_to_raise, quota_of
from xportal.aws.session import Aws
from xportal.aws.tags import tag_filter
from xportal.errors import Unreachable
from xportal.machine.offers import Offer

OVER_QUOTA = {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded"}
NOT_FREE = "not eligible for Free Tier"  # in the message; the code says nothing of it
COUNTED_STATES = ["shutting-down", "terminated"]  # AWS's count of vCPUs lags behind them


class Limits:
    """What the refusals of one launch have told."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._over: dict[str, int] = {}  # by quota: the fewest vCPUs that were too many
        self._free: list[str] | None = None  # the types of a free plan, if the account has one
        self.refusal: AwsError | None = None  # the first one, which is of the best offer

    def permit(self, offer: Offer) -> bool:
        """Whether an offer is worth a try."""
        if self._free is not None and offer.type.name not in self._free:
            return False
        quota = quota_of(offer.type.name, spot=offer.price is not None)
        return quota is None or offer.type.vcpus < self._over.get(quota.code, offer.type.vcpus + 1)

    def learn(self, error: AwsError, offer: Offer) -> bool:
        """Whether a refusal is of this kind, so that other offers may still be granted."""
        if NOT_FREE in error.message:
            self._free = _free_types(self._aws, offer)
            self.refusal = self.refusal or _not_free(error, offer, self._free)
        elif error.code in OVER_QUOTA:
            quota = quota_of(offer.type.name, spot=offer.price is not None)
            if quota is None:
                return False
            self._over[quota.code] = offer.type.vcpus
            asked = ask_quota(self._aws, quota)
            self.refusal = self.refusal or _over_quota(self._aws, error, offer, asked)
        else:
            return False
        return True


def may_lag(aws: Aws, error: AwsError, offer: Offer) -> bool:
    """Whether a refusal for the quota may be of machines that have ended: AWS counts them for some minutes longer."""
    if error.code not in OVER_QUOTA:
        return False
    ended = [*tag_filter(ours="1"), {"Name": "instance-state-name", "Values": COUNTED_STATES}]
    if not compute.list_instances(aws, ended):
        return False
    quota = quota_of(offer.type.name, spot=offer.price is not None)
    vcpus = ask_quota(aws, quota).vcpus if quota else None
    return vcpus is None or vcpus >= offer.type.vcpus


def _free_types(aws: Aws, offer: Offer) -> list[str]:
    try:
        return catalogue.list_free_types(aws, offer.type.architectures)
    except (AwsError, Unreachable):
        return []


def _not_free(error: AwsError, offer: Offer, free: list[str]) -> AwsError:
    choice = f"--type {free[0]} is eligible, and so are {', '.join(free[1:])}" if free else "a type that is eligible"
    return AwsError(
        f"this account has AWS's free plan, which has no {offer.type.name} ({error.code})",
        code=error.code,
        operation=error.operation,
        status=error.status,
        hint=f"{choice}; with a paid plan all are: https://console.aws.amazon.com/billing/home",
    )


def _over_quota(aws: Aws, error: AwsError, offer: Offer, quota: Quota) -> AwsError:
    return AwsError(
        f"AWS refused {offer.type.name}: {shortage(aws, quota, offer.type.vcpus)} ({error.code})",
        code=error.code,
        operation=error.operation,
        status=error.status,
        hint=f"ask for more: {how_to_raise(aws, quota, max(offer.type.vcpus, quota.vcpus or 0))}; "
        "on-demand machines (--on-demand) and spot machines have quotas apart, and so have CPU and GPU types",
    )


def shortage(aws: Aws, quota: Quota, vcpus: int) -> str:
    """What the quota is, as far as is known, and what is needed."""
    if quota.vcpus is None:
        has = f"is not known ({quota.why}); new accounts have few or none" if quota.why else "is not known"
    else:
        has = f"is {quota.vcpus} vCPUs"
    counted = ", and other machines count, too" if quota.vcpus is not None and quota.vcpus >= vcpus else ""
    return f'{vcpus} vCPUs are needed, and the quota "{quota.name}" of {aws.region} {has}{counted}'
