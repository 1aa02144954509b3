"""What AWS refuses accounts that are new, free, blocked or strictly managed, and how it says so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.contract.conftest import Account, Refuse, make_client
from xportal.sandbox.api.engine import Settings

SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}


def test_launches_over_the_quota_are_refused(account: Account, refused: Refuse) -> None:
    """By vCPUs of a family and market; machines that are terminated count for a while, and then no more."""
    account.cloud.add_fault("quota", vcpus=2, market="spot", family="standard", seconds=60)
    first = account.launch_spot()
    over = refused(account.launch, **SPOT)
    assert (over.code, over.status) == ("MaxSpotInstanceCountExceeded", 400)
    account.launch()
    account.launch(InstanceType="g4dn.xlarge", **SPOT)
    account.terminate(first)
    assert refused(account.launch, **SPOT).code == "MaxSpotInstanceCountExceeded"
    account.cloud.clear_faults()
    account.cloud.add_fault("quota", vcpus=2, market="spot", seconds=0)
    account.launch(**SPOT)
    account.cloud.add_fault("quota", vcpus=0, market="on-demand")
    assert refused(account.launch).code == "VcpuLimitExceeded"


def test_service_quotas_tells_the_quota(account: Account, refused: Refuse) -> None:
    """By its code, as it is in force."""
    quotas = account.client("service-quotas")
    told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")["Quota"]
    assert told["QuotaName"] == "All G and VT Spot Instance Requests"
    account.cloud.add_fault("quota", vcpus=0, family="g")
    for code, value in (("L-3819A6DF", 0), ("L-DB2E81BA", 0), ("L-34B43A08", told["Value"])):
        assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"] == value
    assert quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")["Quota"]["Value"] == 0
    unknown = refused(quotas.get_service_quota, ServiceCode="ec2", QuotaCode="L-00000000")
    assert unknown.code == "NoSuchResourceException"


@pytest.mark.parametrize(
    ("problem", "code", "status"),
    [("pending-verification", "PendingVerification", 400), ("blocked", "Blocked", 400)],
)
def test_an_account_that_may_not_launch(
    account: Account, refused: Refuse, problem: str, code: str, status: int
) -> None:
    """Launches are refused; questions are not."""
    account.cloud.add_fault("account", problem=problem)
    no = refused(account.launch)
    assert (no.code, no.status) == (code, status)
    assert account.all_instances() == []


def test_an_account_that_is_not_signed_up(account: Account, refused: Refuse) -> None:
    """EC2 refuses everything."""
    account.cloud.add_fault("account", problem="opt-in-required")
    assert refused(account.ec2.describe_volumes).code == "OptInRequired"


def test_a_free_plan_has_few_types(account: Account, refused: Refuse) -> None:
    """Those that DescribeInstanceTypes calls eligible."""
    account.cloud.add_fault("account", problem="free-plan")
    no = refused(account.launch)
    assert no.code == "InvalidParameterCombination"
    assert "not eligible for Free Tier" in no.message
    free = account.ec2.describe_instance_types(Filters=[{"Name": "free-tier-eligible", "Values": ["true"]}])
    names = {info["InstanceType"] for info in free["InstanceTypes"]}
    assert {"t3.micro", "t3.small", "m7i-flex.large"} <= names
    assert "t3.medium" not in names
    account.launch(InstanceType="m7i-flex.large")


def test_the_first_spot_request_needs_aws_s_role(account: Account, refused: Refuse) -> None:
    """Where the user may not make it, it has to be made by somebody who may."""
    account.cloud.add_fault("account", problem="no-spot-role")
    no = refused(account.launch, **SPOT)
    assert (no.code, no.status) == ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", 403)
    account.launch()
    account.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    account.launch(**SPOT)


def test_a_refusal_is_encoded(account: Account, refused: Refuse) -> None:
    """In words, too, or encoded alone: STS decodes it. IAM says it in words, and never encoded."""
    account.cloud.add_fault("forbid", operations=("TerminateInstances", "CreateRole"))
    instance = account.launch()["InstanceId"]
    for in_words in (True, False):
        no = refused(account.ec2.terminate_instances, InstanceIds=[instance])
        assert (no.code, no.status) == ("UnauthorizedOperation", 403)
        assert ("is not authorized to perform: ec2:TerminateInstances on resource: arn:" in no.message) is in_words
        found = re.search(r"Encoded authorization failure message: (\S+)$", no.message)
        assert found
        answer = account.client("sts").decode_authorization_message(EncodedMessage=found[1])
        told: dict[str, Any] = json.loads(answer["DecodedMessage"])
        assert told["context"]["action"] == "ec2:TerminateInstances"
        assert told["context"]["resource"].endswith(f":instance/{instance}")
    no = refused(account.client("iam").create_role, RoleName="role", AssumeRolePolicyDocument="{}")
    assert no.code == "AccessDenied"
    assert "is not authorized to perform: iam:CreateRole" in no.message
    assert refused(account.client("sts").decode_authorization_message, EncodedMessage="no").code == (
        "InvalidAuthorizationMessageException"
    )


def test_a_region_that_is_not_enabled_knows_no_keys(account: Account, refused: Refuse) -> None:
    """Each service says so as of keys that do not exist."""
    url = account.cloud.endpoint_url
    for service, operation, code in (
        ("ec2", "describe_volumes", "AuthFailure"),
        ("ssm", "describe_parameters", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ):
        assert refused(getattr(make_client(service, url, "af-south-1"), operation)).code == code


def test_a_key_that_may_not_be_used_ends_the_launch(account: Account, settings: Settings) -> None:
    """It is accepted, and ends as Client.InternalError."""
    account.cloud.add_fault("account", problem="unusable-key")
    instance = account.launch(BlockDeviceMappings=[account.drive(Encrypted=True)])
    ended = account.wait_instance(instance["InstanceId"], "terminated")
    assert ended["StateReason"]["Code"] == "Client.InternalError"
    account.wait_until(lambda: account.ec2.describe_volumes()["Volumes"] == [])
