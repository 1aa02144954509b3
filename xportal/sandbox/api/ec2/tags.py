"""TagSpecifications, and EC2's limits on tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xportal.sandbox.api.ec2.errors import ApiError, invalid_value

TAGS_MAX, KEY_MAX, VALUE_MAX = 50, 128, 256


def tags_of(params: Mapping[str, Any], *kinds: str) -> dict[str, dict[str, str]]:
    """The tags for each kind of resource; kinds that the call cannot tag are refused."""
    tags: dict[str, dict[str, str]] = {}
    for spec in params.get("TagSpecifications", []):
        kind = spec.get("ResourceType", "")
        if kind not in kinds:
            raise invalid_value(f"'{kind}' is not a valid taggable resource type for this operation.")
        if not spec.get("Tags"):
            raise invalid_value("Tag specification must have at least one tag")
        tags.setdefault(kind, {}).update({tag["Key"]: tag.get("Value", "") for tag in spec["Tags"]})
    for wanted in tags.values():
        check_tags(wanted)
    return tags


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise ApiError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise invalid_value(f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
        if not 1 <= len(key) <= KEY_MAX:
            raise invalid_value(f"Tag key exceeds the maximum length of {KEY_MAX} characters")
        if len(value) > VALUE_MAX:
            raise invalid_value(f"Tag value exceeds the maximum length of {VALUE_MAX} characters")
