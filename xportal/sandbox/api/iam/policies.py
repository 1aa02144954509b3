"""IAM policies, evaluated: an explicit denial wins, and what nothing allows is forbidden. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_FOR_ALL = "ForAllValues:"


@dataclass(frozen=True)
class Access:
    """One action on one resource (an ARN, or "*"), and the condition keys of the request, in lower case."""

    action: str  # ec2:CreateSnapshot
    resource: str
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # some keys have several values


def allows(policies: Iterable[Policy], access: Access) -> bool:
    """Whether the policies together allow it. ValueError for a condition operator that is not known here."""
    fitting = [s["Effect"] for policy in policies for s in _listed(policy["Statement"]) if _fits(s, access)]
    return "Allow" in fitting and "Deny" not in fitting


def _fits(statement: Mapping[str, Any], access: Access) -> bool:
    action = access.action.lower()
    return (
        _names(statement, "Action", lambda pattern: _is_like(action, pattern.lower()))
        and _names(statement, "Resource", lambda pattern: _is_like(access.resource, pattern))
        and all(
            _holds(operator, access.context.get(key.lower()), _filled(_listed(values), access.context))
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _names(statement: Mapping[str, Any], element: str, matches: Any) -> bool:
    """Whether Action or Resource has a pattern that matches, or NotAction or NotResource has none."""
    if element in statement:
        return any(matches(pattern) for pattern in _listed(statement[element]))
    return not any(matches(pattern) for pattern in _listed(statement[f"Not{element}"]))


def _holds(operator: str, given: str | tuple[str, ...] | None, wanted: list[str]) -> bool:
    """A key that the request does not have fulfils only the negated operators, and those for all of its values."""
    if operator.startswith(_FOR_ALL):
        return all(_holds(operator.removeprefix(_FOR_ALL), value, wanted) for value in given or ())
    if operator == "Null":
        return ["true" if given is None else "false"] == wanted
    if isinstance(given, tuple):
        raise ValueError(f"the sandbox does not know {operator} for a key with several values")
    if operator in ("StringNotEquals", "StringNotLike"):
        return not _holds(operator.replace("Not", ""), given, wanted)
    if operator == "StringEquals":
        return given in wanted
    if operator == "StringLike":
        return given is not None and any(_is_like(given, pattern) for pattern in wanted)
    raise ValueError(f"the sandbox does not know the condition operator {operator}")


def _filled(values: list[Any], context: Mapping[str, str | tuple[str, ...]]) -> list[str]:
    """The values with the request's own for the policy's variables. One with a variable that it lacks fits nothing."""
    filled = []
    for value in map(str, values):
        keys = [key.lower() for key in _VARIABLE.findall(value)]
        if all(isinstance(context.get(key), str) for key in keys):
            filled.append(_VARIABLE.sub(lambda found: str(context[found[1].lower()]), value))
    return filled


def _is_like(text: str, pattern: str) -> bool:
    """With * for any characters and ? for any one."""
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
