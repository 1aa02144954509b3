"""IAM policies as IAM evaluates them."""

from __future__ import annotations

from typing import Any

import pytest

from xportal.sandbox.api.iam.policies import Access, allows

VOLUME = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1"
SNAPSHOT = "arn:aws:ec2:us-east-1::snapshot/snap-1"


def statement(effect: str = "Allow", **given: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "ec2:CreateSnapshot", "Resource": "*", **given}


def is_allowed(*statements: dict[str, Any], resource: str = VOLUME, **context: str) -> bool:
    """CreateSnapshot on the resource; `tag="x"` stands for the condition key aws:ResourceTag/tag."""
    keys = {f"aws:resourcetag/{name}": value for name, value in context.items()}
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    return allows([policy], Access("ec2:CreateSnapshot", resource, keys))


def test_what_nothing_allows_is_forbidden() -> None:
    """Without policies, and with one for something else."""
    assert not allows([], Access("ec2:CreateSnapshot", VOLUME))
    assert not is_allowed(statement(Action="ec2:CreateTags"))
    assert is_allowed(statement())


def test_a_denial_wins() -> None:
    """Whatever allows it as well, in the same policy or in another."""
    assert not is_allowed(statement(), statement("Deny"))
    assert not is_allowed(statement("Deny"), statement())
    allowing, denying = {"Statement": statement()}, {"Statement": statement("Deny")}
    assert not allows([allowing, denying], Access("ec2:CreateSnapshot", VOLUME))


@pytest.mark.parametrize(
    "action", ["ec2:CreateSnapshot", "EC2:createsnapshot", "ec2:Create*", "ec2:CreateSnapsho?", "*"]
)
def test_actions_have_wildcards_and_no_case(action: str) -> None:
    """One of a list is enough."""
    assert is_allowed(statement(Action=action))
    assert is_allowed(statement(Action=["ec2:Describe*", action]))


@pytest.mark.parametrize("action", ["ec2:CreateSnapshots", "ec2:Create", "ec2:?", "s3:*", "ec2.CreateSnapshot"])
def test_other_actions_do_not_fit(action: str) -> None:
    """A dot is a dot, and a pattern is for the whole name."""
    assert not is_allowed(statement(Action=action))


def test_resources_are_arns_with_wildcards() -> None:
    """Region and account may be *; a snapshot's ARN has no account; case counts."""
    assert is_allowed(statement(Resource="arn:aws:ec2:*:123456789012:volume/*"))
    assert not is_allowed(statement(Resource="arn:aws:ec2:*:123456789012:Volume/*"))
    assert not is_allowed(statement(Resource="arn:aws:ec2:*:123456789012:snapshot/*"), resource=SNAPSHOT)
    assert is_allowed(statement(Resource="arn:aws:ec2:*::snapshot/*"), resource=SNAPSHOT)


def test_all_but_some() -> None:
    """NotAction and NotResource."""
    rest = {"Effect": "Allow", "NotAction": ["ec2:Delete*", "ec2:Terminate*"], "NotResource": SNAPSHOT}
    assert is_allowed(rest)
    assert not is_allowed(rest, resource=SNAPSHOT)
    assert not is_allowed({**rest, "NotAction": "ec2:Create*"})


def test_conditions_must_all_hold() -> None:
    """StringEquals by any of its values, key by key; a key that is missing holds nothing."""
    both = statement(Condition={"StringEquals": {"aws:ResourceTag/own": ["1", "2"], "aws:ResourceTag/Kind": "a"}})
    assert is_allowed(both, own="2", kind="a")
    assert not is_allowed(both, own="3", kind="a")
    assert not is_allowed(both, own="2", kind="A")
    assert not is_allowed(both, own="2")


def test_likeness_has_wildcards() -> None:
    """StringLike, and StringEquals has none."""
    assert is_allowed(statement(Condition={"StringLike": {"aws:ResourceTag/name": "x*-?"}}), name="xdrive-1")
    assert not is_allowed(statement(Condition={"StringLike": {"aws:ResourceTag/name": "x*-?"}}), name="drive-1")
    assert not is_allowed(statement(Condition={"StringLike": {"aws:ResourceTag/name": "*"}}))
    assert not is_allowed(statement(Condition={"StringEquals": {"aws:ResourceTag/name": "x*"}}), name="xdrive")


@pytest.mark.parametrize("operator", ["StringNotEquals", "StringNotLike"])
def test_a_missing_key_is_not_equal(operator: str) -> None:
    """The negated operators hold for another value and for none."""
    condition = statement(Condition={operator: {"aws:ResourceTag/own": "1"}})
    assert not is_allowed(condition, own="1")
    assert is_allowed(condition, own="2")
    assert is_allowed(condition)


def test_a_key_may_have_to_be_missing() -> None:
    """Null: "true" for a key that the request does not have, "false" for one that it has."""
    for wanted in (True, False):
        condition = statement(Condition={"Null": {"aws:ResourceTag/own": str(wanted).lower()}})
        assert is_allowed(condition) == wanted
        assert is_allowed(condition, own="") != wanted


def test_variables_stand_for_what_the_request_has() -> None:
    """One that the request lacks fits nothing, as little as the words of the variable themselves."""
    same = statement(Condition={"StringEquals": {"aws:ResourceTag/own": "x-${aws:ResourceTag/Name}"}})
    assert is_allowed(same, own="x-1", name="1")
    assert not is_allowed(same, own="x-1", name="2")
    assert not is_allowed(same, own="x-1")
    assert not is_allowed(same, own="x-${aws:ResourceTag/Name}")


def test_all_values_of_a_key_must_fit() -> None:
    """ForAllValues: each of them by any of the patterns; none at all do."""
    condition = statement(Condition={"ForAllValues:StringLike": {"aws:TagKeys": ["Name", "x:*"]}})

    def allowed(*keys: str) -> bool:
        context = {"aws:tagkeys": keys} if keys else {}
        return allows([{"Statement": condition}], Access("ec2:CreateSnapshot", VOLUME, context))

    assert allowed("Name", "x:1")
    assert not allowed("Name", "y:1")
    assert allowed()


def test_an_unknown_operator_is_no_condition_that_holds() -> None:
    """It is said, not passed over."""
    with pytest.raises(ValueError, match="DateLessThan"):
        is_allowed(statement(Condition={"DateLessThan": {"aws:ResourceTag/own": "1"}}))
