"""The machines' role: made whole whatever was cut off before, waited for, and done without where it cannot be had."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from tests.crash.conftest import Bench
from tests.user import make_session
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.roles import ROLE, TRUST, ensure_instance_profile, policy
from xportal.aws.session import Aws
from xportal.machine.access import Claim, new_claim
from xportal.machine.images import get_machine_image
from xportal.machine.launch import _run_with_role
from xportal.portal.launching import _find_profile
from xportal.spec import MachineSpec


class Forbidding(Aws):
    """An account whose user may neither use IAM nor pass a role on; all else is real."""

    def call(self, operation: Any, *args: Any, **params: Any) -> Any:
        """Refuse as AWS does."""
        if "InstanceProfileName" in params or "IamInstanceProfile" in params:
            raise AwsError("not authorized", code="UnauthorizedOperation", operation=operation.__name__)
        return super().call(operation, *args, **params)


def request(aws: Aws) -> dict[str, Any]:
    """The least that RunInstances takes, and the profile."""
    image = get_machine_image(aws, MachineSpec(architecture="x86_64"), gpu=False)
    machine = {"ImageId": image.id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1}
    return {**machine, "IamInstanceProfile": {"Name": ROLE}}


def profile_of(aws: Aws, machine: Instance) -> str | None:
    """The profile that a machine was launched with."""
    by_id = [{"Name": "instance-id", "Values": [machine.id]}]  # by a filter: the id alone is unknown at first
    while not (found := aws.ec2.describe_instances(Filters=by_id)["Reservations"]):  # type: ignore[arg-type]
        sleep(0.1)
    return found[0]["Instances"][0].get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2] or None


@contextmanager
def closing_claim() -> Iterator[Claim]:
    """A claim for one launch."""
    claim = new_claim()
    try:
        yield claim
    finally:
        claim.release()


@pytest.fixture(autouse=True)
def no_role(bench: Bench) -> None:
    """An account as it is before the first `up`."""
    iam_backends[DEFAULT_ACCOUNT_ID].reset()


def attached(bench: Bench) -> list[str]:
    """The roles in the profile."""
    found = bench.aws.iam().get_instance_profile(InstanceProfileName=ROLE)
    return [role["RoleName"] for role in found["InstanceProfile"]["Roles"]]


def stored_policy(bench: Bench) -> Any:
    """What the role may do."""
    document = bench.aws.iam().get_role_policy(RoleName=ROLE, PolicyName=ROLE)["PolicyDocument"]
    return json.loads(document) if isinstance(document, str) else document


def test_it_may_take_tagged_snapshots_of_our_volumes_and_nothing_else() -> None:
    """CreateSnapshot on volume and snapshot, each by its tag; tags only with it; the snapshot's ARN has no account."""
    told = policy("arn:aws-cn:iam::123456789012:role/xportal")["Statement"]
    volume, snapshot, tag, look = told
    assert volume["Resource"] == "arn:aws-cn:ec2:*:123456789012:volume/*"
    assert volume["Condition"] == {"StringEquals": {"aws:ResourceTag/xportal": "1"}}
    assert snapshot["Resource"] == tag["Resource"] == "arn:aws-cn:ec2:*::snapshot/*"
    assert snapshot["Condition"] == {"StringEquals": {"aws:RequestTag/xportal": "1"}}
    assert tag["Condition"] == {"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}}
    assert [one["Action"] for one in told] == [
        ["ec2:CreateSnapshot"],
        ["ec2:CreateSnapshot"],
        ["ec2:CreateTags"],
        ["ec2:DescribeSnapshots"],
    ]
    assert look["Resource"] == "*"


def misspelt(shape: Any, value: Any) -> Iterator[str]:
    """The texts in a call's parameters that are longer, or of other characters, than IAM's own model says."""
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from misspelt(shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            yield from misspelt(shape.member, item)
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern", ".*").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
        if not re.fullmatch(pattern, value, re.DOTALL) or len(value) > shape.metadata.get("max", 1 << 20):
            yield value


def test_its_texts_are_of_the_patterns_that_iam_documents(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, descriptions, policies and tags: moto takes any, IAM does not."""
    wrong: list[str] = []
    seen: list[str] = []

    def look(params: Any, model: Any, **_: Any) -> None:
        seen.append(model.name)
        wrong.extend(misspelt(model.input_shape, params))

    iam = bench.aws.iam()
    iam.meta.events.register("provide-client-params.iam", look)
    monkeypatch.setattr(bench.aws, "iam", lambda: iam)
    ensure_instance_profile(bench.aws)
    assert {"CreateRole", "PutRolePolicy", "CreateInstanceProfile"} <= set(seen)
    assert wrong == []
    assert list(misspelt(iam.meta.service_model.operation_model("CreateRole").input_shape, {"RoleName": "x'y"}))


@pytest.mark.parametrize("before", ["nothing", "role", "profile", "everything"])
def test_it_is_made_whole_whatever_is_there(bench: Bench, before: str) -> None:
    """An `up` that was cut off between two calls leaves no role without its policy."""
    iam = bench.aws.iam()
    if before in ("role", "profile"):
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
    if before == "profile":
        iam.create_instance_profile(InstanceProfileName=ROLE)
    if before == "everything":
        ensure_instance_profile(bench.aws)
    assert ensure_instance_profile(bench.aws) == ROLE
    assert attached(bench) == [ROLE]
    arn = iam.get_role(RoleName=ROLE)["Role"]["Arn"]
    assert stored_policy(bench) == policy(arn)


def test_a_user_who_may_not_gets_a_machine_all_the_same(bench: Bench) -> None:
    """No permission in IAM, or none to pass the role on: no role, and the user is told what that means."""
    forbidding = Forbidding(make_session(bench.aws.region), bench.aws.region)
    assert _find_profile(forbidding, bench.story) is None
    assert "takes the snapshot" in bench.story.lines[-1]

    ensure_instance_profile(bench.aws)
    with closing_claim() as claim:
        machine = _run_with_role(forbidding, request(bench.aws), claim, bench.story.say, lambda: None)
    assert "takes the snapshot" in bench.story.lines[-1]
    assert profile_of(bench.aws, machine) is None


def test_a_new_profile_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 does not know it at first, then not its role, and says so each time; the launch comes through, with both."""
    monkeypatch.setattr("xportal.machine.launch.PROFILE_POLL_SECONDS", 0.05)
    monkeypatch.setattr(bench.cloud.settings, "profile_seconds", 1.0)
    ensure_instance_profile(bench.aws)
    with closing_claim() as claim:
        machine = _run_with_role(bench.aws, request(bench.aws), claim, bench.story.say, lambda: None)
    assert profile_of(bench.aws, machine) == ROLE
    assert bench.story.lines == []
