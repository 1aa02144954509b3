"""The table of rules is true: every test it names exists."""

from __future__ import annotations

import importlib

import pytest

from tests.contract.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.test)
def test_the_rule_s_test_exists(rule: Rule) -> None:
    """The test named in the table is a test function with a docstring."""
    module, _, function = rule.test.partition("::")
    test = getattr(importlib.import_module(f"tests.contract.{module}"), function)
    assert test.__doc__
    assert rule.source


def test_no_rule_stands_twice() -> None:
    """Rules and tests are each named once."""
    assert len({rule.test for rule in RULES}) == len({rule.rule for rule in RULES}) == len(RULES)
