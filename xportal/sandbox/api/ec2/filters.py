"""EC2's filters and paging: the same rules for every Describe call."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from xportal.sandbox.api.ec2.errors import ApiError, invalid_value

T = TypeVar("T")
Accessor = Callable[[Any], object]  # one value, several (list, tuple, set), or None

PAGE_MIN, PAGE_MAX = 5, 1000


def select(records: Iterable[T], filters: Sequence[Mapping[str, Any]], table: Mapping[str, Accessor]) -> list[T]:
    """The records that pass every filter; a name that is not in `table` (or a tag's) is refused."""
    chosen = list(records)
    for wanted in filters:
        accessor = _accessor(wanted.get("Name", ""), table)
        patterns = [_pattern(str(value)) for value in wanted.get("Values", [])]
        chosen = [record for record in chosen if _matches(accessor(record), patterns)]
    return chosen


def _accessor(name: str, table: Mapping[str, Accessor]) -> Accessor:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda record: _tags(record).get(key)
    if name == "tag-key":
        return lambda record: list(_tags(record))
    if name not in table:
        raise invalid_value(f"The filter '{name}' is invalid")
    return table[name]


def _tags(record: Any) -> dict[str, str]:
    tags: dict[str, str] = record.ec2_backend.tags.get(record.id, {})
    return tags


def _pattern(value: str) -> re.Pattern[str]:
    """EC2's wildcards: * and ?, with a backslash before a literal one."""
    parts = re.findall(r"\\.|\*|\?|[^\\*?]+|\\", value, re.DOTALL)
    regex = "".join({"*": ".*", "?": "."}.get(part) or re.escape(re.sub(r"^\\(.)$", r"\1", part)) for part in parts)
    return re.compile(regex, re.DOTALL)


def _matches(value: object, patterns: list[re.Pattern[str]]) -> bool:
    values = value if isinstance(value, (list, tuple, set)) else [value]
    texts = [_text(item) for item in values if item is not None]
    return any(pattern.fullmatch(text) for pattern in patterns for text in texts)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return str(value)


def page(
    records: Sequence[T],
    params: Mapping[str, Any],
    *,
    key: Callable[[T], str],
    ids: str | None = None,
    default: int | None = None,
    limits: tuple[int, int] = (PAGE_MIN, PAGE_MAX),
) -> tuple[list[T], str | None]:
    """One page and the token of the next. `ids` names the parameter that MaxResults may not be used with."""
    size = _page_size(params, ids, limits) or default
    start = _start(records, params.get("NextToken"), key)
    if size is None or start + size >= len(records):
        return list(records[start:]), None
    last = start + size - 1
    token = base64.urlsafe_b64encode(f"{last}:{key(records[last])}".encode()).decode()
    return list(records[start : last + 1]), token


def _page_size(params: Mapping[str, Any], ids: str | None, limits: tuple[int, int]) -> int | None:
    size: int | None = params.get("MaxResults")
    if size is None:
        return None
    if ids and params.get(ids):
        raise ApiError(
            "InvalidParameterCombination",
            f"The parameter {ids} cannot be used with the parameter MaxResults",
        )
    if not limits[0] <= size:
        raise invalid_value(f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value of {limits[0]}+")
    return min(size, limits[1])


def _start(records: Sequence[T], token: str | None, key: Callable[[T], str]) -> int:
    """Where the page begins: after the record that ended the last one, or at its place when that is gone."""
    if not token:
        return 0
    try:
        place, _, last = base64.urlsafe_b64decode(token).decode().partition(":")
        fallback = int(place)
    except ValueError as error:
        raise ApiError("InvalidNextToken", "The specified pagination token is not valid") from error
    return next((n + 1 for n, record in enumerate(records) if key(record) == last), fallback)
