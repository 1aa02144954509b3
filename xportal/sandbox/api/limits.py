"""Lengths, patterns and ranges that AWS's own models give the parameters of requests, whatever service they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from xportal.sandbox.api.data import load
from xportal.sandbox.api.errors import Codes, refusal

_INVALID: Codes = (("InvalidParameterValue", 400), ("ValidationError", 400), ("ValidationException", 400))
_JAVA, _PYTHON = r"\p{L}\p{Z}\p{N}", r"\w\s"  # letters, spaces and numbers of all languages, within brackets


def check_limits(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """RefusedError names the first parameter that is too long, too short, or of other characters."""
    rules: Mapping[str, Mapping[str, Any]] = load("limits").get(service, {}).get(operation, {})
    for path, rule in rules.items():
        for value in _values(params, path.replace("[]", ".[]").split(".")):
            reason = _wrong(value, rule)
            if reason:
                raise refusal(
                    service,
                    _INVALID,
                    f"1 validation error detected: Value at '{path}' failed to satisfy constraint: {reason}",
                )


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "[]":
        for item in value if isinstance(value, list) else ():
            yield from _values(item, path[1:])
    elif isinstance(value, Mapping) and value.get(path[0]) is not None:
        yield from _values(value[path[0]], path[1:])


def _wrong(value: Any, rule: Mapping[str, Any]) -> str:
    """What is wrong, in AWS's words; nothing if it is right."""
    size = value if isinstance(value, (int, float)) else len(value)
    what = "value" if isinstance(value, (int, float)) else "length"
    if size < rule.get("min", size):
        return f"Member must have {what} greater than or equal to {rule['min']}"
    if size > rule.get("max", size):
        return f"Member must have {what} less than or equal to {rule['max']}"
    pattern = rule.get("pattern")
    if pattern and isinstance(value, str) and not _compiled(pattern).fullmatch(value):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(_JAVA, _PYTHON), re.DOTALL)
