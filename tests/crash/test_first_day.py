"""What an account of AWS's is like on its first day: the requests that it takes, and what it refuses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from tests.crash.conftest import FileAgent, Lab, Quiet
from tests.user import make_session
from xportal.aws import tags
from xportal.aws.compute import find_instance
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.aws.network import list_default_subnets
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag
from xportal.errors import AwsRefused, NoCredentials, UsageError, XportalError
from xportal.machine.images import get_machine_image
from xportal.portal.up import find_or_launch
from xportal.portal.up.plan import plan_report, prepare
from xportal.portal.up.ready import adopt
from xportal.spec import MachineSpec, PortalSpec

DEEP_LEARNING = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"first{next(_numbers)}"


@pytest.fixture
def asked(lab: Lab) -> list[tuple[Any, dict[str, Any]]]:
    """Every request to EC2: what botocore's model says of the operation, and the parameters."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.append((model, params))

    for client in (lab.aws.ec2, lab.aws.once):
        client.meta.events.register("provide-client-params.ec2.*", note)
    return seen


def test_requests_are_as_aws_documents_them(lab: Lab, drive: str, asked: list[tuple[Any, dict[str, Any]]]) -> None:
    """A life of a drive asks with filters that AWS documents for the operation, and for encrypted disks alone."""
    lab.up(drive, size_gib=1)
    lab.save(drive)
    lab.down(drive)
    for model, params in asked:
        given = {f["Name"].partition(":")[0] for f in params.get("Filters", [])}
        documented = model.input_shape.members["Filters"].documentation if given else ""
        assert given <= set(re.findall(r"<li> <p> <code>([a-z.-]+)", documented)), (model.name, given)
    disks = [d["Ebs"] for model, params in asked for d in params.get("BlockDeviceMappings", [])]
    assert {"VolumeSize" in disk for disk in disks} == {True, False}  # the drive's and the root disk
    assert all(disk["Encrypted"] for disk in disks)


@dataclass
class Until(Quiet):
    """A story in which something happens once a line is told."""

    words: str = ""
    then: Callable[[], None] = lambda: None
    is_heard: bool = False

    def say(self, text: str) -> None:
        """Remember."""
        super().say(text)
        if self.words in text and not self.is_heard:
            self.is_heard = True
            self.then()


@pytest.fixture
def fault(lab: Lab) -> Iterator[Callable[..., object]]:
    """Put a fault in force; all end with the test."""
    yield lab.cloud.add_fault
    lab.cloud.clear_faults()


def launches(lab: Lab) -> int:
    """How many launches were asked for."""
    return sum(call["operation"] == "RunInstances" for call in lab.cloud.calls.as_json())


def refusal_of(lab: Lab, drive: str, **spec: Any) -> XportalError:
    """Why an `up` was refused; it left nothing."""
    lab.cloud.calls.clear()
    with pytest.raises(XportalError) as caught:
        lab.up(drive, **spec)
    assert lab.volumes() == []
    assert lab.down(drive).lock is None
    return caught.value


def test_no_quota_says_what_is_needed_and_where_to_ask(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """Spot CPU machines in an account that has no vCPUs for them: one launch is tried, none in other zones."""
    fault("quota", vcpus=0, market="spot", family="standard")
    error = refusal_of(lab, drive)
    assert error.exit_status == 4
    assert launches(lab) == 1
    assert '2 vCPUs are needed, and the quota "All Standard (A, C, D, H, I, M, R, T, Z) Spot' in error.message
    assert "of us-east-1 is 0 vCPUs (MaxSpotInstanceCountExceeded)" in error.message
    assert "us-east-1.console.aws.amazon.com/servicequotas/home/services/ec2/quotas/L-34B43A08" in error.hint
    assert "--desired-value 2" in error.hint
    assert not any("trying again" in line for line in lab.story.lines)


def test_a_quota_that_may_not_be_asked_for(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """On demand, and without the permission for service quotas: what is known is said."""
    fault("quota", vcpus=1, market="on-demand")
    fault("forbid", operations=("GetServiceQuota",))
    error = refusal_of(lab, drive, on_demand=True)
    assert "Running On-Demand Standard" in error.message
    assert "is not known (AWS refused GetServiceQuota: this user or role may not servicequotas:" in error.message
    assert "L-1216C47A" in error.hint


def test_a_plan_tells_the_quota(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """--dry-run asks for it, and what is missing is said."""
    spec = PortalSpec(drive, MachineSpec(gpu=True))
    plenty = plan_report(lab.aws, spec, prepare(lab.aws, spec)).quota
    assert plenty
    assert (plenty.code, plenty.problem) == ("L-3819A6DF", "")
    fault("quota", vcpus=0, market="spot", family="g")
    none = plan_report(lab.aws, spec, prepare(lab.aws, spec)).quota
    assert none
    assert (none.vcpus, none.needed) == (0, 4)
    assert "4 vCPUs are needed" in none.problem
    assert "--quota-code L-3819A6DF" in none.problem


def test_a_machine_that_has_just_ended_still_counts(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """AWS's count lags: an `up` right after a `down` tries again for two minutes."""
    lab.up(drive, size_gib=1)
    lab.down(drive)
    fault("quota", vcpus=3, seconds=600)
    lab.story = story = Until(words="trying again for 2 minutes", then=lab.cloud.clear_faults)
    lab.up(drive)
    assert story.is_heard
    lab.down(drive)


def test_a_free_plan_names_types_that_it_has(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """The default types are none of them; one that is comes up."""
    fault("account", problem="free-plan")
    error = refusal_of(lab, drive)
    assert launches(lab) == 1
    assert "this account has AWS's free plan, which has no t3" in error.message
    assert error.hint.startswith("--type m7i-flex.large is eligible, and so are c7i-flex.large, t3.small")
    types = ("t3.medium", "m7i-flex.large")
    machine, _ = find_or_launch(
        lab.aws, PortalSpec(drive, MachineSpec(types=types), size_gib=1), lab.story, FileAgent(lab)
    )
    assert machine.type == "m7i-flex.large"
    lab.down(drive)


@pytest.mark.parametrize(
    ("problem", "code", "what", "hint"),
    [
        ("pending-verification", "PendingVerification", "AWS still verifies this account", "four hours"),
        ("blocked", "Blocked", "AWS has blocked this account", "support"),
    ],
)
def test_accounts_that_may_not_launch(
    lab: Lab, drive: str, fault: Callable[..., object], problem: str, code: str, what: str, hint: str
) -> None:
    """Each has its own words, and what to do."""
    fault("account", problem=problem)
    error = refusal_of(lab, drive)
    assert isinstance(error, AwsError)
    assert error.code == code
    assert what in error.message
    assert hint in error.hint


def test_an_account_that_is_not_signed_up(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """Every call is refused, and none is told as wrong keys."""
    fault("account", problem="opt-in-required")
    with pytest.raises(AwsError, match="not signed up for EC2") as caught:
        lab.up(drive)
    assert "portal.aws.amazon.com/billing/signup" in caught.value.hint


def test_the_first_spot_machine_of_an_account(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """The role that AWS needs for it is made; where that is forbidden, it is said who has to make it."""
    fault("account", problem="no-spot-role")
    fault("forbid", operations=("CreateServiceLinkedRole",))
    error = refusal_of(lab, drive)
    assert "it lacks the role AWSServiceRoleForEC2Spot" in error.message
    assert "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com" in error.hint
    assert "--on-demand" in error.hint
    lab.cloud.clear_faults()
    fault("account", problem="no-spot-role")
    lab.up(drive, size_gib=1)
    assert lab.aws.iam().get_role(RoleName="AWSServiceRoleForEC2Spot")
    lab.down(drive)


def test_what_is_forbidden_is_named(lab: Lab, fault: Callable[..., object]) -> None:
    """The action, never the encoded part: by its words, decoded, or that it could not be."""
    fault("forbid", operations=("DescribeSubnets",))
    for _ in ("in words", "encoded"):
        with pytest.raises(AwsError) as caught:
            list_default_subnets(lab.aws)
        assert caught.value.message == (
            "AWS refused DescribeSubnets: this user or role may not ec2:DescribeSubnets: no policy allows it "
            "(UnauthorizedOperation)"
        )
        assert caught.value.hint == "whoever manages the account's permissions has to allow ec2:DescribeSubnets"
    fault("forbid", operations=("DecodeAuthorizationMessage",))
    told = []
    for _ in ("in words", "encoded"):
        with pytest.raises(AwsError) as caught:
            list_default_subnets(lab.aws)
        told.append(caught.value)
    assert "may not ec2:DescribeSubnets" in told[0].message
    assert "ncoded" not in told[1].message
    assert "sts:DecodeAuthorizationMessage" in told[1].hint


def test_a_launch_that_is_forbidden_is_not_tried_without_the_role(
    lab: Lab, drive: str, fault: Callable[..., object]
) -> None:
    """Only if it is the role that this user may not pass on."""
    fault("forbid", operations=("RunInstances",))
    assert "may not ec2:RunInstances" in refusal_of(lab, drive).message
    assert launches(lab) == 1


def test_a_region_that_is_not_enabled(lab: Lab) -> None:
    """It knows no key of the account: told as the region's, while wrong keys stay wrong keys."""
    off = Aws(make_session(), "af-south-1")
    for ask in (off.ec2.describe_regions, off.ssm().describe_parameters):
        with pytest.raises(AwsRefused, match="the region af-south-1 is not enabled for this account") as caught:
            off.call(ask)
        assert "aws account enable-region --region-name af-south-1" in caught.value.hint
    stranger = boto3.Session(aws_access_key_id="AKIAOTHEROTHEROTHER1", aws_secret_access_key="no")
    wrong = Aws(stranger, "af-south-1")
    with pytest.raises(NoCredentials):
        wrong.call(wrong.ec2.describe_regions)


def test_a_region_without_the_image(lab: Lab) -> None:
    """A sentence, with what to do."""
    paris = Aws(make_session(), "eu-west-3")
    paris.ssm().delete_parameter(Name=DEEP_LEARNING)
    with pytest.raises(UsageError, match=r"AWS has no Deep Learning image .* for x86_64 in eu-west-3") as caught:
        get_machine_image(paris, MachineSpec(), gpu=True)
    assert "--image-id" in caught.value.hint


def test_a_key_that_may_not_be_used(lab: Lab, drive: str, fault: Callable[..., object]) -> None:
    """AWS ends the machine with "Client.InternalError": which grants lack is said."""
    fault("account", problem="unusable-key")
    error = refusal_of(lab, drive)
    assert "Client.InternalError" in error.message
    assert "kms:CreateGrant" in error.hint


def test_a_young_machine_s_disks_are_waited_for(lab: Lab, drive: str) -> None:
    """They show one by one: the drive gets its tags in this `up`, and so in one that takes a young machine over."""
    lab.cloud.settings.mapping_seconds = 1.0
    lab.cloud.settings.invisible_seconds = 0.0
    try:
        machine = lab.up(drive, size_gib=1)
        [volume] = [v for v in lab.volumes() if v.tags.get(tags.NAME) == drive]
        assert volume.tags[tags.MACHINE].endswith(machine.id)
        delete_tag(lab.aws, volume.id, tags.GENERATION)
        lab.cloud.settings.mapping_seconds = 600.0
        young = find_instance(lab.aws, machine.id)
        assert young
        lab.cloud.settings.mapping_seconds = 0.0
        adopted = adopt(lab.aws, PortalSpec(drive), young, lab.story)
        assert DEVICE in adopted.disks
        [volume] = [v for v in lab.volumes() if v.id == volume.id]
        assert volume.tags[tags.GENERATION] == "1"
    finally:
        lab.cloud.settings.mapping_seconds = 0.2
        lab.cloud.settings.invisible_seconds = 0.2
    lab.down(drive)
