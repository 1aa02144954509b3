"""What happens beside a command while it works: right before one of its calls goes to AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xportal.aws import compute, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws


@contextmanager
def before_call(
    aws: Aws, operation: str, act: Callable[[Mapping[str, Any]], object], *, times: int = 1
) -> Iterator[None]:
    """Before calls of an EC2 operation `act` gets their parameters, until it has acted so many times.

    It returns False if the moment has not come yet. What it raises is raised by the call, which does not go out. Its
    own calls go out as they are.
    """
    left, acts = times, False

    def handle(params: Mapping[str, Any], **_: object) -> None:
        nonlocal left, acts
        if not left or acts:
            return
        left, acts = left - 1, True
        try:
            left += act(params) is False
        finally:
            acts = False

    for client in (aws.ec2, aws.once):
        client.meta.events.register(f"before-parameter-build.ec2.{operation}", handle)
    try:
        yield
    finally:
        for client in (aws.ec2, aws.once):
            client.meta.events.unregister(f"before-parameter-build.ec2.{operation}", handle)


@contextmanager
def launched(aws: Aws, drive: str, act: Callable[[Instance], object]) -> Iterator[None]:
    """Once, when the next machine of a drive runs, before whoever launched it looks at the lock again."""
    before = {machine.id for machine in compute.list_instances(aws, tags.drive_filter(drive))}

    def look(_: object) -> bool:
        found = compute.list_instances(aws, tags.drive_filter(drive))
        machine = next((m for m in found if m.id not in before and m.state == "running"), None)
        if machine:
            act(machine)
        return machine is not None

    with before_call(aws, "DescribeKeyPairs", look):
        yield


def tags_in(params: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a CreateTags."""
    return {tag["Key"]: tag["Value"] for tag in params["Tags"]}
