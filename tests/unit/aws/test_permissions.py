"""The least policies: they have the actions that xportal's own clients ask for, and no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from moto.core.utils import get_service_model

import xportal
from xportal.aws.roles import policy
from xportal.sandbox.api.iam.reference import ANY, kinds_of, known, prefix_of

PACKAGE = Path(xportal.__file__).parent
POLICIES = PACKAGE / "aws" / "policies"
SERVICES = ("ec2", "iam", "ssm", "ec2-instance-connect", "sts", "service-quotas")
# What AWS evaluates beside the actions that are called: tags in a creating call, and the role given to a machine.
IMPLIED = {"iam:PassRole", "iam:TagRole"}
MANAGED_MAX = 6144  # characters of a managed policy, without white space; an inline one of a role may have 10,240


def user_policy() -> dict[str, Any]:
    """The least policy of a person who uses xportal."""
    told: dict[str, Any] = json.loads((POLICIES / "user.json").read_text())
    return told


def listed(value: Any) -> list[Any]:
    """One or several."""
    return value if isinstance(value, list) else [value]


def actions_in(told: dict[str, Any]) -> set[str]:
    """Every action that a policy allows."""
    return {action for statement in told["Statement"] for action in listed(statement["Action"])}


def _by_method() -> dict[str, str]:
    """Each action by its method in the SDK. (A name that two services have is the first one's.)"""
    found: dict[str, str] = {}
    for service in SERVICES:
        for operation in get_service_model(service).operation_names:
            found.setdefault(xform_name(operation), f"{prefix_of(service)}:{operation}")
    return found


BY_METHOD = _by_method()


def called(source: str) -> Iterator[str]:
    """The actions that a module asks for: by methods of the SDK's clients, or by their names, as `pages` takes them."""
    for node in ast.walk(ast.parse(source)):
        is_method = isinstance(node, ast.Attribute) and not _is_module(node.value)
        name = node.attr if is_method and isinstance(node, ast.Attribute) else getattr(node, "value", None)
        if isinstance(name, str) and name in BY_METHOD:
            yield BY_METHOD[name]


def _is_module(value: ast.expr) -> bool:
    """Whether it is one of our own modules, whose functions have names like the SDK's."""
    return isinstance(value, ast.Name) and value.id in {path.stem for path in (PACKAGE / "aws").glob("*.py")}


def calls_of_clients() -> set[str]:
    """What xportal's package for AWS asks of it. (No other package has clients.)"""
    return {action for path in sorted((PACKAGE / "aws").glob("*.py")) for action in called(path.read_text())}


def test_a_user_may_do_what_the_code_calls_and_nothing_else() -> None:
    """The actions of the policy are those that xportal/aws/ calls, with what AWS evaluates beside them."""
    assert actions_in(user_policy()) == calls_of_clients() | IMPLIED


def test_a_machine_may_do_what_the_agent_calls_and_nothing_else() -> None:
    """The shipped file is the policy that xportal puts; its actions are those of the agent, and tags as they ride."""
    told = json.loads((POLICIES / "machine.json").read_text())
    assert told == policy("arn:aws:iam::*:role/xportal")
    agent = "".join(path.read_text() for path in sorted((PACKAGE / "agent").rglob("*.py")))
    asked = {f"ec2:{name}" for name in re.findall(r"call\(\s*\"([A-Z]\w+)\"", agent)}
    assert actions_in(told) == asked | {"ec2:CreateTags"}


@pytest.mark.parametrize("name", ["user", "machine"])
def test_every_condition_is_one_that_aws_evaluates(name: str) -> None:
    """Every action of a statement has a kind of resource that the statement names, for which AWS has all its keys."""
    for statement in json.loads((POLICIES / f"{name}.json").read_text())["Statement"]:
        kinds = {kind_in(resource) for resource in listed(statement["Resource"])}
        keys = {key.lower() for values in statement.get("Condition", {}).values() for key in values}
        for action in listed(statement["Action"]):
            fitting = kinds_of(action) & kinds if "*" not in kinds else kinds_of(action) or {ANY}
            assert fitting, (action, kinds)
            told = dict.fromkeys(keys, "")
            assert any(set(known(action, kind, told)) == set(told) for kind in fitting), (action, statement)


def kind_in(resource: str) -> str:
    """The kind of a resource by its ARN: volume."""
    return resource if resource == "*" else re.split("[/:]", resource.split(":", 5)[5])[0]


def test_the_policies_are_not_too_long_for_aws() -> None:
    """Each can be a managed policy."""
    for name in ("user", "machine"):
        assert len(re.sub(r"\s", "", (POLICIES / f"{name}.json").read_text())) <= MANAGED_MAX


def test_what_deletes_ends_or_changes_needs_our_tag() -> None:
    """No action has a wildcard. Tags are taken from copies of drives whoever made them, by our keys alone."""
    for statement in user_policy()["Statement"]:
        for action in listed(statement["Action"]):
            assert "*" not in action
            if re.search(r":(Delete(?!Tags)|Terminate|Modify|Attach)", action):
                assert statement["Condition"]["StringEquals"] == {"aws:ResourceTag/xportal": "1"}
