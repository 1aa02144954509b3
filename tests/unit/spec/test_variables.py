"""`${VAR}` as Compose has it, row by row."""

from __future__ import annotations

import pytest

from xportal.spec.variables import Expansion, NotExpanded

ENVIRONMENT = {"A": "one", "EMPTY": "", "B_2": "two"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"), ("$A", "one"), ("${A}", "one"), ("x${A}y$A.", "xoneyone."), ("$B_2", "two"), ("$$A", "$A"),
        ("$${A}", "${A}"), ("$$$A", "$one"), ("${NONE}", ""), ("$NONE.", "."), ("${A:-d}", "one"), ("${NONE:-d}", "d"),
        ("${NONE-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""), ("${NONE:-}", ""), ("${A:+r}", "r"),
        ("${EMPTY:+r}", ""), ("${EMPTY+r}", "r"), ("${NONE+r}", ""), ("${A:?no}", "one"), ("${EMPTY?no}", ""),
        ("${NONE:-${A}}", "one"), ("${NONE:-${NO:-${B_2}}x}", "twox"), ("${NONE:-a:b-c?d}", "a:b-c?d"),
        ("${A:-${NONE:?no}}", "one"), ("${NONE:-$$}", "$"), ("${NONE:+${X:?no}}", ""), ("}{", "}{"), ("a:-b", "a:-b"),
    ],
)  # fmt: skip
def test_expansion(text: str, expanded: str) -> None:
    assert Expansion(ENVIRONMENT).expand(text) == expanded


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$", "name"), ("a$", "name"), ("$1", "name"), ("${}", "name"), ("${1}", "name"), ("$-x", "name"), ("${A", "}"),
        ("${A:-x", "} is missing"), ("${A:x}", "followed"), ("${A x}", "followed"), ("${NONE:?say why}", "say why"),
        ("${EMPTY:?}", "not set"), ("${NONE?}", "not set"), ("${NONE:-${X:?inner}}", "inner"),
        ("${A:-" * 12 + "}" * 12, "too deep"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(text: str, why: str) -> None:
    with pytest.raises(NotExpanded, match=why):
        Expansion(ENVIRONMENT).expand(text)


def test_what_was_used_is_known() -> None:
    """And what nothing was put in for."""
    expansion = Expansion(ENVIRONMENT)
    expansion.expand("$A ${NONE} ${NO:-$B_2} ${A:+x}")
    assert (expansion.used, expansion.unset) == ({"A": "one", "B_2": "two"}, ["NONE"])
