"""What EC2 checks of every request before it looks at a record: the form of ids, and that filters are documented."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xportal.sandbox.api.data import load
from xportal.sandbox.api.ec2.errors import ApiError, invalid_value

VALUES_MAX = 200
_HEX = re.compile(r"[0-9a-f]{8}|[0-9a-f]{17}")
# Parameters that hold ids, the prefix of these, and EC2's code for what has not their form.
_IDS: Mapping[str, tuple[str, str]] = {
    "GroupId": ("sg", "InvalidGroupId.Malformed"),
    "GroupIds": ("sg", "InvalidGroupId.Malformed"),
    "Groups": ("sg", "InvalidGroupId.Malformed"),
    "ImageId": ("ami", "InvalidAMIID.Malformed"),
    "ImageIds": ("ami", "InvalidAMIID.Malformed"),
    "InstanceId": ("i", "InvalidInstanceID.Malformed"),
    "InstanceIds": ("i", "InvalidInstanceID.Malformed"),
    "SecurityGroupIds": ("sg", "InvalidGroupId.Malformed"),
    "SnapshotId": ("snap", "InvalidSnapshotID.Malformed"),
    "SnapshotIds": ("snap", "InvalidSnapshotID.Malformed"),
    "SourceSnapshotId": ("snap", "InvalidSnapshotID.Malformed"),
    "SpotInstanceRequestIds": ("sir", "InvalidSpotInstanceRequestID.Malformed"),
    "SubnetId": ("subnet", "InvalidSubnetID.Malformed"),
    "SubnetIds": ("subnet", "InvalidSubnetID.Malformed"),
    "VolumeId": ("vol", "InvalidVolumeID.Malformed"),
    "VolumeIds": ("vol", "InvalidVolumeID.Malformed"),
    "VpcId": ("vpc", "InvalidVpcID.Malformed"),
    "VpcIds": ("vpc", "InvalidVpcID.Malformed"),
}


def check_request(operation: str, params: Mapping[str, Any]) -> None:
    """Raises ApiError, as EC2 does for the form of a request, whatever there is."""
    for name, value in _texts(params):
        if name in _IDS:
            prefix, code = _IDS[name]
            _check_id(value, prefix, code)
        elif name == "Resources" and not _has_form(value):
            raise ApiError("InvalidID", f"The ID '{value}' is not valid")
    _check_filters(operation, params)


def _check_id(value: str, prefix: str, code: str) -> None:
    head, dash, number = value.partition("-")
    if head != prefix or not dash or not _HEX.fullmatch(number):
        raise ApiError(code, f'Invalid id: "{value}" (expecting "{prefix}-...")')


def _has_form(value: str) -> bool:
    return re.fullmatch(rf"[a-z-]+-(?:{_HEX.pattern})", value) is not None


def _check_filters(operation: str, params: Mapping[str, Any]) -> None:
    """Each filter's name is one that EC2 documents for this operation, and it has values, at most 200."""
    documented = load("filters").get(operation, ())
    for wanted in params.get("Filters", []):
        name = wanted.get("Name", "")
        plain = "tag:" if re.fullmatch("tag:.+", name, re.DOTALL) else name
        if documented and plain not in documented:
            raise invalid_value(f"The filter '{name}' is invalid")
        if not wanted.get("Values"):
            raise invalid_value(f"The filter '{name}' has no values")
        if len(wanted["Values"]) > 200:
            raise ApiError(
                "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"
            )


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a request with the parameter that it stands in, at any depth; those of filters are free."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in ("Filters", "Tags", "TagSpecifications"):
                yield from _texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
    elif isinstance(value, str):
        yield name, value
