"""What a refusal means, where AWS has to be asked once more to know it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from xportal.aws.answers import understood
from xportal.aws.errors import AwsError, KeysRefused, forbidden, is_forbidden
from xportal.errors import AwsRefused, NoCredentials, Unreachable, XportalError

if TYPE_CHECKING:
    from xportal.aws.session import Aws

ALWAYS_ENABLED = "us-east-1"
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")  # where no region needs to be enabled


def explained(aws: Aws, error: XportalError) -> XportalError:
    """The error in better words; the same one if there are none. Raises nothing."""
    if isinstance(error, KeysRefused):
        return _without_region(aws, error)
    if isinstance(error, AwsError) and error.encoded:
        return _decoded(aws, error)
    return error


def _without_region(aws: Aws, error: KeysRefused) -> XportalError:
    """A region that the account has not enabled knows no key of it, and says so of the keys, not of the region."""
    if aws.region == ALWAYS_ENABLED or aws.region.startswith(OTHER_PARTITIONS):
        return error
    other = aws.in_region(ALWAYS_ENABLED)
    try:
        regions = other.call(other.ec2.describe_regions, RegionNames=[aws.region], AllRegions=True)["Regions"]
        with understood("the regions"):
            is_off = any(region["OptInStatus"] == "not-opted-in" for region in regions)
    except AwsError as refused:
        if not is_forbidden(refused):
            return error
        is_off = True  # the keys are good: it is this user's permissions that were looked at there
    except (NoCredentials, Unreachable):
        return error
    return _not_enabled(aws.region) if is_off else error


def _not_enabled(region: str) -> AwsRefused:
    return AwsRefused(
        f"the region {region} is not enabled for this account: it knows none of the account's keys",
        hint=f"aws account enable-region --region-name {region}, or Account, AWS Regions in the AWS console, which "
        "takes some minutes to some hours; or another --region",
    )


def _decoded(aws: Aws, error: AwsError) -> AwsError:
    """STS reads what EC2 encoded, if the user may ask it."""
    sts = aws.sts()
    try:
        answer = aws.call(sts.decode_authorization_message, EncodedMessage=error.encoded)
        with understood("the refusal"):
            told = json.loads(answer["DecodedMessage"])
            context = told["context"]
            action, resource, denied = str(context["action"]), str(context["resource"]), bool(told["explicitDeny"])
    except (AwsError, NoCredentials, Unreachable):
        return error
    return forbidden(error.code, error.operation, error.status, action, resource, denied=denied)
