"""The characters and lengths that EC2 takes in names, descriptions and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xportal.sandbox.api.ec2.errors import ApiError, invalid_value

TEXT_MAX = 255
TOKEN_MAX = 64
ALLOWED = "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"  # in the words of EC2's errors
_TEXT = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]*")
_OF_RULES = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
_DESCRIBED_FREELY = ("CreateSnapshot", "CreateSnapshots")


def check_texts(action: str, params: Mapping[str, Any]) -> None:
    """Whether EC2 takes the texts of a request, whatever else is wrong with it. Raises ApiError."""
    if action == "CreateSecurityGroup":
        _check_group(params.get("GroupName", ""), params.get("Description", ""))
    for text in _rule_descriptions(params):
        _check("rule description", text)
    if action in _DESCRIBED_FREELY and len(params.get("Description", "")) > TEXT_MAX:
        raise invalid_value(f"Invalid description. Descriptions have at most {TEXT_MAX} characters")
    token = params.get("ClientToken", "")
    if len(token) > TOKEN_MAX or not token.isascii():
        raise invalid_value(f"Invalid client token. Client tokens have at most {TOKEN_MAX} ASCII characters")


def _check_group(name: str, description: str) -> None:
    for parameter, text in (("GroupName", name), ("GroupDescription", description)):
        if not text:
            raise ApiError("MissingParameter", f"The request must contain the parameter {parameter}")
    if name.lower().startswith("sg-"):
        reason = "Group names may not be in the format sg-*."
        raise invalid_value(f"Value ({name}) for parameter GroupName is invalid. {reason}")
    _check("security group name", name)
    _check("security group description", description)


def _rule_descriptions(params: Mapping[str, Any]) -> Iterator[str]:
    for permission in params.get("IpPermissions", []):
        for kind in _OF_RULES:
            for given in permission.get(kind, []):
                yield given.get("Description", "")
    for changed in params.get("SecurityGroupRules", []):
        yield changed.get("SecurityGroupRule", {}).get("Description", "")


def _check(what: str, text: str) -> None:
    if len(text) > TEXT_MAX or not _TEXT.fullmatch(text):
        valid = f"strings less than {TEXT_MAX + 1} characters from the following set: {ALLOWED}"
        raise invalid_value(f"Invalid {what}. Valid {what}s are {valid}")
