"""IAM policies, evaluated: an explicit denial wins, and what nothing allows is forbidden. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]
Given = str | tuple[str, ...] | None  # a condition key's value in the request; some keys have several
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_FOR_ALL, _FOR_ANY, _IF_EXISTS = "ForAllValues:", "ForAnyValue:", "IfExists"


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


def allows_somewhere(policies: Iterable[Policy], action: str) -> bool:
    """Whether some statement allows the action, on whatever resource and condition."""
    statements = [s for policy in policies for s in _listed(policy["Statement"])]
    return any(s["Effect"] == "Allow" and _names_action(s, action) for s in statements)


def _fits(statement: Mapping[str, Any], access: Access) -> bool:
    return (
        _names_action(statement, access.action)
        and _names(statement, "Resource", lambda pattern: _names_resource(pattern, access))
        and all(
            _holds(operator, access.context.get(key.lower()), _filled(_listed(values), access.context))
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _names_action(statement: Mapping[str, Any], action: str) -> bool:
    return _names(statement, "Action", lambda pattern: _is_like(action.lower(), pattern.lower()))


def _names_resource(pattern: str, access: Access) -> bool:
    """Every field of an ARN's pattern is matched by itself: its wildcards do not reach beyond the colon."""
    filled = _filled([pattern], access.context)
    if not filled:
        return False
    wanted, there = filled[0].split(":", 5), access.resource.split(":", 5)
    if len(wanted) < 6 or len(there) < 6:
        return _is_like(access.resource, filled[0])
    return all(_is_like(part, field) for part, field in zip(there, wanted, strict=True))


def _names(statement: Mapping[str, Any], element: str, matches: Callable[[str], bool]) -> bool:
    """Whether Action or Resource has a pattern that matches, or NotAction or NotResource has none."""
    if element in statement:
        return any(matches(pattern) for pattern in _listed(statement[element]))
    return not any(matches(pattern) for pattern in _listed(statement[f"Not{element}"]))


def _holds(operator: str, given: Given, wanted: list[str]) -> bool:
    """A key that the request does not have fulfils only the negated operators, those for all of its values, and those
    that end in IfExists.
    """
    if operator.startswith(_FOR_ALL):
        return all(_holds(operator.removeprefix(_FOR_ALL), value, wanted) for value in _values(given))
    if operator.startswith(_FOR_ANY):
        return any(_holds(operator.removeprefix(_FOR_ANY), value, wanted) for value in _values(given))
    if operator == "Null":
        return ["true" if given is None else "false"] == wanted
    if operator.endswith(_IF_EXISTS):
        return given is None or _holds(operator.removesuffix(_IF_EXISTS), given, wanted)
    if isinstance(given, tuple):
        raise ValueError(f"the sandbox does not know {operator} for a key with several values")
    negated = "Not" in operator
    compare = _OPERATORS.get(operator.replace("Not", ""))
    if compare is None:
        raise ValueError(f"the sandbox does not know the condition operator {operator}")
    return negated != (given is not None and any(compare(given, value) for value in wanted))


def _values(given: Given) -> tuple[str, ...]:
    return given if isinstance(given, tuple) else () if given is None else (given,)


def _filled(values: list[Any], context: Mapping[str, str | tuple[str, ...]]) -> list[str]:
    """The values with the request's own for the policy's variables. One with a variable that it lacks fits nothing."""
    filled = []
    for value in map(_text, values):
        keys = [key.lower() for key in _VARIABLE.findall(value)]
        if all(isinstance(context.get(key), str) for key in keys):
            filled.append(_VARIABLE.sub(lambda found: str(context[found[1].lower()]), value))
    return filled


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_like(text: str, pattern: str) -> bool:
    """With * for any characters and ? for any one."""
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _is_in(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network, strict=False)


# Each operator without its Not: whether the request's value is as one of the policy's.
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda given, wanted: given == wanted,
    "StringEqualsIgnoreCase": lambda given, wanted: given.lower() == wanted.lower(),
    "StringLike": _is_like,
    "ArnEquals": _is_like,
    "ArnLike": _is_like,
    "Bool": lambda given, wanted: given.lower() == wanted.lower(),
    "IpAddress": _is_in,
    "NumericEquals": lambda given, wanted: float(given) == float(wanted),
    "NumericLessThan": lambda given, wanted: float(given) < float(wanted),
    "NumericLessThanEquals": lambda given, wanted: float(given) <= float(wanted),
    "NumericGreaterThan": lambda given, wanted: float(given) > float(wanted),
    "NumericGreaterThanEquals": lambda given, wanted: float(given) >= float(wanted),
}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
