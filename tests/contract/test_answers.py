"""The sandbox's answers are those that moto's serializer writes, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

import pytest
from botocore import xform_name
from moto.core.model import ListShape, Shape, StructureShape
from moto.core.serialize import EC2Serializer, XFormedAttributePicker
from moto.core.utils import get_service_model

from tests.contract.conftest import Account
from xportal.sandbox.api.ec2.answers import AnswerSerializer
from xportal.sandbox.api.ec2.backend import get_backend
from xportal.sandbox.api.ec2.response import Ec2Response

MODEL = get_service_model("ec2")
# With every kind of value, and every member that is transformed.
OPERATIONS = (
    "AttachVolume", "AuthorizeSecurityGroupIngress", "CreateKeyPair", "CreateSnapshot", "CreateSnapshots", "CreateTags",
    "CreateVolume", "DescribeAvailabilityZones", "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes", "DescribeInstances", "DescribeKeyPairs", "DescribeReservedInstancesListings",
    "DescribeSecurityGroups", "DescribeSnapshots", "DescribeSpotInstanceRequests", "DescribeSpotPriceHistory",
    "DescribeSubnets", "DescribeVolumes", "DescribeVpcs", "GetConsoleOutput", "GetPasswordData", "ModifyVolume",
    "RunInstances", "StopInstances", "TerminateInstances",
)  # fmt: skip
ZONE = timezone(timedelta(hours=2))
VALUES: dict[str, tuple[Any, ...]] = {
    "blob": ("words", b"\x00\xff"),
    "boolean": (True, False, "True", "false", 0),
    "double": (0.5, "1.25", 3),
    "float": (0.25, 2),
    "integer": (0, 7, "12", True),
    "long": (1 << 40, "5"),
    "string": ("plain", "", '<a href="&amp;">\r\n\u00e9\U0001f600', 5, 0.5, True, b"bytes"),
    "timestamp": (
        datetime(2026, 3, 1, 12, 30, 15, 123456, ZONE), datetime(2026, 3, 1), "2026-03-01T12:30:15.000Z", 1767225600,
        "2026-03-01T12:30:15+02:00", "1767225600",
    ),
}  # fmt: skip


def write(serializer: type[EC2Serializer], operation: str, result: Any) -> dict[str, Any]:
    """The answer."""
    picker = XFormedAttributePicker(response_transformers=Ec2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER)
    return dict(serializer(MODEL.operation_model(operation), value_picker=picker).serialize(result))


@cache
def record_class(name: str) -> type:
    """A class of records with attributes."""
    return type(name, (), {})


def sample(shape: Shape, number: int) -> Any:
    """A value, another one for each number: as a dictionary, or as a record with moto's names, with members left out
    here and there, and lists of no, one and several items.
    """
    if isinstance(shape, StructureShape):
        kept = [(key, member) for at, (key, member) in enumerate(shape.members.items()) if (at + number) % 7]
        values = {key: sample(member, number + at) for at, (key, member) in enumerate(kept)}
        if number % 2:
            return values
        record = record_class(shape.name)()
        for at, (key, value) in enumerate(values.items()):
            short = key.removeprefix(shape.name) or key
            setattr(record, (key, xform_name(key), xform_name(short))[at % 3], value)
        return record
    if isinstance(shape, ListShape):
        assert isinstance(shape.member, Shape)
        return [sample(shape.member, number + at) for at in range(number % 3)]
    choices = VALUES[shape.type_name]
    return choices[number % len(choices)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_of_any_form(operation: str) -> None:
    """Whatever a call answers, of records and of dictionaries, the answer is moto's."""
    shape = MODEL.operation_model(operation).output_shape
    for number in range(6):
        result = None if shape is None else sample(shape, number)
        assert write(AnswerSerializer, operation, result) == write(EC2Serializer, operation, result)


def test_answers_of_records(account: Account) -> None:
    """What a used account tells is the same, too."""
    instance = account.launch_spot(BlockDeviceMappings=[account.drive()], UserData="echo '<&>'")
    account.make_snapshot(account.drive_of(instance))
    account.import_key("a & b")
    account.ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "<", "Value": "\u00e9 & so on"}])
    account.ec2.create_security_group(GroupName="ours", Description="ours & nobody elses")
    backend = get_backend(account.region)
    told: dict[str, tuple[str, Any]] = {
        "DescribeImages": ("Images", backend.amis),
        "DescribeInstances": ("Reservations", backend.reservations),
        "DescribeKeyPairs": ("KeyPairs", backend.key_pairs),
        "DescribeSecurityGroups": ("SecurityGroups", next(iter(backend.groups.values()))),
        "DescribeSnapshots": ("Snapshots", backend.snapshots),
        "DescribeSpotInstanceRequests": ("SpotInstanceRequests", backend.spot_instance_requests),
        "DescribeVolumes": ("Volumes", backend.volumes),
    }
    for operation, (key, records) in told.items():
        assert records, f"{operation} tells nothing"
        result = {key: list(records.values()), "NextToken": None}
        assert write(AnswerSerializer, operation, result) == write(EC2Serializer, operation, result)


def test_model_has_structures_and_lists_alone() -> None:
    """No answer of EC2 is of a form that the serializer does not know."""
    for name in MODEL.operation_names:
        operation = MODEL.operation_model(name)
        assert not operation.has_event_stream_output
        for shape, above in walk(operation.output_shape, ()):
            assert shape.type_name in ("structure", "list", *VALUES), f"{name}: {shape}"
            assert shape.name not in above, f"{name}: {shape} holds itself"
            assert shape.serialization.keys() <= {"name", "queryName"}, f"{name}: {shape}"
            if isinstance(shape, StructureShape):
                elements = [member.serialization.get("name", key) for key, member in shape.members.items()]
                assert len({*elements, "requestId"}) == len(elements) + 1, f"{name}: {shape}"


_seen: set[str] = set()


def walk(shape: Shape | None, above: tuple[str, ...]) -> Iterator[tuple[Shape, tuple[str, ...]]]:
    """Every form of value in an answer once, with those that it lies in."""
    if shape is None:
        return
    yield shape, above
    if shape.name in _seen or shape.name in above:
        return
    _seen.add(shape.name)
    inner = (*above, shape.name)
    if isinstance(shape, StructureShape):
        for member in shape.members.values():
            yield from walk(member, inner)
    elif isinstance(shape, ListShape):
        assert isinstance(shape.member, Shape)
        yield from walk(shape.member, inner)
