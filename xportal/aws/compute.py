"""Instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xportal import foreign
from xportal.aws.answers import record, understood
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.aws.tags import from_aws

POLL_SECONDS = 1.0


def list_instances(aws: Aws, filters: list[Any]) -> list[Instance]:
    """Instances that match, in all states."""
    reservations = aws.pages("describe_instances", "Reservations", Filters=filters)
    return [_instance(item) for reservation in reservations for item in reservation["Instances"]]


def find_instance(aws: Aws, instance_id: str) -> Instance | None:
    """The instance, or None: for some seconds after its launch AWS may not know its id."""
    return next(iter(list_instances(aws, [{"Name": "instance-id", "Values": [instance_id]}])), None)


def wait_for_instance(
    aws: Aws, instance_id: str, condition: Callable[[Instance], object], seconds: float, beat: Callable[[], None]
) -> Instance | None:
    """The instance once the condition holds of it, or None after `seconds`; `beat` is called between two looks."""
    deadline = aws.clock.monotonic() + seconds
    while aws.clock.monotonic() < deadline:
        found = find_instance(aws, instance_id)
        if found and condition(found):
            return found
        beat()
        aws.clock.sleep(POLL_SECONDS)  # AWS can only be asked again
    return None


def run_instance(aws: Aws, request: dict[str, Any]) -> Instance:
    """One RunInstances call for one instance, never retried by the SDK. Raises AwsError with AWS's code."""
    answer = aws.call(aws.once.run_instances, **request)
    with understood("the new instance"):
        return _instance(answer["Instances"][0])


def terminate_instance(aws: Aws, instance_id: str, *, at_once: bool = False) -> None:
    """Begin to terminate an instance, `at_once` without an OS shutdown; one that is gone already is fine."""
    try:
        aws.call(aws.ec2.terminate_instances, InstanceIds=[instance_id], SkipOsShutdown=at_once)
    except AwsError as error:
        if error.code != "InvalidInstanceID.NotFound":
            raise


@record
def _instance(item: Any) -> Instance:
    return Instance(
        id=item["InstanceId"],
        state=item["State"]["Name"],
        type=item["InstanceType"],
        # A machine that is terminated loses one field after the other, and its tags.
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        launched=item["LaunchTime"],
        image_id=item.get("ImageId", ""),
        spot=item.get("InstanceLifecycle") == "spot",
        architecture=item.get("Architecture", "x86_64"),
        public_address=foreign.address(item.get("PublicIpAddress")),
        vpc_id=item.get("VpcId"),
        profile_arn=item.get("IamInstanceProfile", {}).get("Arn", ""),
        state_reason=item.get("StateReason", {}).get("Code", ""),
        state_message=item.get("StateReason", {}).get("Message", ""),
        root_device=item.get("RootDeviceName", ""),
        disks={d["DeviceName"]: d["Ebs"]["VolumeId"] for d in item.get("BlockDeviceMappings", []) if "Ebs" in d},
        tags=from_aws(item.get("Tags")),
    )


def keep_volume(aws: Aws, instance_id: str, device: str) -> None:
    """Have the volume at `device` outlive its instance."""
    mapping: list[Any] = [{"DeviceName": device, "Ebs": {"DeleteOnTermination": False}}]
    aws.call(aws.ec2.modify_instance_attribute, InstanceId=instance_id, BlockDeviceMappings=mapping)
