"""What can be rented: images, types, where they are offered, and today's spot prices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xportal import foreign
from xportal.aws.answers import record, understood
from xportal.aws.errors import AwsError
from xportal.aws.records import Image, InstanceType
from xportal.aws.session import Aws
from xportal.errors import UsageError


def list_regions(aws: Aws) -> list[str]:
    """The regions that are enabled for the account."""
    regions = aws.call(aws.ec2.describe_regions)["Regions"]
    with understood("the regions"):
        return [region["RegionName"] for region in regions if foreign.name(region["RegionName"])]


def get_parameter(aws: Aws, name: str) -> str:
    """A public SSM parameter's value. Raises AwsError (ParameterNotFound)."""
    answer = aws.call(aws.ssm().get_parameter, Name=name)
    with understood("the parameter"):
        return answer["Parameter"]["Value"]


def get_image(aws: Aws, image_id: str) -> Image:
    """An AMI. Raises UsageError if there is none of that id in the region."""
    try:
        images = aws.call(aws.ec2.describe_images, ImageIds=[image_id])["Images"]
    except AwsError as error:
        if not error.code.startswith("InvalidAMIID"):
            raise
        images = []
    if not images:
        raise UsageError(f"no machine image {image_id} in {aws.region}", hint="AMI ids differ from region to region")
    return _image(images[0])


def list_instance_types(aws: Aws, names: Iterable[str]) -> list[InstanceType]:
    """The types of these names, in that order. Raises UsageError naming those that the region does not have."""
    wanted = list(dict.fromkeys(names))
    try:
        items = list(aws.pages("describe_instance_types", "InstanceTypes", InstanceTypes=wanted))
    except AwsError as error:
        if error.code != "InvalidInstanceType":
            raise
        raise UsageError(
            f"unknown instance type in {aws.region}: {error.message}", hint="for example g5.xlarge"
        ) from error
    missing = set(wanted) - {item["InstanceType"] for item in items}
    if missing:
        raise UsageError(f"no instance type {', '.join(sorted(missing))} in {aws.region}")
    return sorted((_instance_type(item) for item in items), key=lambda t: wanted.index(t.name))


def list_free_types(aws: Aws, architectures: Iterable[str]) -> list[str]:
    """The types of AWS's free plan for a CPU, those with the most memory first."""
    free: list[Any] = [{"Name": "free-tier-eligible", "Values": ["true"]}]
    found = map(_instance_type, aws.pages("describe_instance_types", "InstanceTypes", Filters=free))
    fit = [t for t in found if set(t.architectures) & set(architectures)]
    return [t.name for t in sorted(fit, key=lambda t: (-t.memory_mib, t.name))]


def list_offered(aws: Aws, names: Iterable[str]) -> set[tuple[str, str]]:
    """The (type, zone) pairs that exist."""
    items = aws.pages(
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(names)}],
    )
    return {(item["InstanceType"], item["Location"]) for item in items}


def spot_prices(aws: Aws, names: Iterable[str]) -> dict[tuple[str, str], float]:
    """The present spot price in US dollars an hour by (type, zone)."""
    items = aws.pages(
        "describe_spot_price_history",
        "SpotPriceHistory",
        InstanceTypes=list(names),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=aws.now(),
    )
    newest: dict[tuple[str, str], Any] = {}
    for item in items:
        key = (item["InstanceType"], item["AvailabilityZone"])
        if key not in newest or item["Timestamp"] > newest[key]["Timestamp"]:
            newest[key] = item
    prices = {key: foreign.amount(item.get("SpotPrice", "")) for key, item in newest.items()}
    return {key: price for key, price in prices.items() if price is not None}


@record
def _image(item: Any) -> Image:
    return Image(item["ImageId"], item.get("Name", ""), item["Architecture"], item["RootDeviceName"])


@record
def _instance_type(item: Any) -> InstanceType:
    gpus = item.get("GpuInfo", {}).get("Gpus", [])
    return InstanceType(
        name=item["InstanceType"],
        architectures=tuple(item["ProcessorInfo"]["SupportedArchitectures"]),
        memory_mib=item["MemoryInfo"]["SizeInMiB"],
        gpus=sum(gpu.get("Count", 0) for gpu in gpus),
        gpu_memory_mib=gpus[0].get("MemoryInfo", {}).get("SizeInMiB", 0) if gpus else 0,
        spot="spot" in item.get("SupportedUsageClasses", []),
        vcpus=item["VCpuInfo"]["DefaultVCpus"],
        burstable=item.get("BurstablePerformanceSupported", False),
    )
