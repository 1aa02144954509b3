"""What an account of AWS's is like on its first day: the requests that it takes, and what it refuses."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.crash.conftest import Lab

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"first{next(_numbers)}"


@pytest.fixture
def asked(lab: Lab) -> list[tuple[Any, dict[str, Any]]]:
    """Every request to EC2: what botocore's model says of the operation, and the parameters."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.append((model, params))

    for client in (lab.aws.ec2, lab.aws.once):
        client.meta.events.register("provide-client-params.ec2.*", note)
    return seen


def test_requests_are_as_aws_documents_them(lab: Lab, drive: str, asked: list[tuple[Any, dict[str, Any]]]) -> None:
    """A life of a drive asks with filters that AWS documents for the operation, and for encrypted disks alone."""
    lab.up(drive, size_gib=1)
    lab.save(drive)
    lab.down(drive)
    for model, params in asked:
        given = {f["Name"].partition(":")[0] for f in params.get("Filters", [])}
        documented = model.input_shape.members["Filters"].documentation if given else ""
        assert given <= set(re.findall(r"<li> <p> <code>([a-z.-]+)", documented)), (model.name, given)
    disks = [d["Ebs"] for model, params in asked for d in params.get("BlockDeviceMappings", [])]
    assert len(disks) == 2
    assert [disk["Encrypted"] for disk in disks] == [True, True]
