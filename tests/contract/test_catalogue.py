"""What can be rented: images, types, zones."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.contract.conftest import Account, Refuse, make_client
from xportal.sandbox.hardware import Software

LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
GPU = "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-2"])
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
@pytest.mark.parametrize(("name", "root_gib"), [(LINUX, 8), (GPU, 75)])
def test_ssm_leads_to_an_image(account: Account, region: str, architecture: str, name: str, root_gib: int) -> None:
    """In every region the public parameter's value is an image of that architecture and root size."""
    ssm = make_client("ssm", account.cloud.endpoint_url, region)
    image_id = ssm.get_parameter(Name=name.format(architecture))["Parameter"]["Value"]
    image = make_client("ec2", account.cloud.endpoint_url, region).describe_images(ImageIds=[image_id])["Images"][0]
    ebs = image["BlockDeviceMappings"][0]["Ebs"]
    assert (image["Architecture"], image["RootDeviceName"]) == (architecture, "/dev/xvda")
    assert (ebs["VolumeSize"], ebs["VolumeType"], image["State"]) == (root_gib, "gp3", "available")


def test_regions_are_those_that_a_new_account_has(account: Account) -> None:
    """Those that are opted in to are told with AllRegions alone, and no other partition's ever."""
    told = [region["RegionName"] for region in account.ec2.describe_regions()["Regions"]]
    every = {r["RegionName"]: r["OptInStatus"] for r in account.ec2.describe_regions(AllRegions=True)["Regions"]}
    assert len(told) == 17
    assert {every[name] for name in told} == {"opt-in-not-required"}
    assert every["il-central-1"] == "not-opted-in"
    assert not [name for name in every if name.startswith(("cn-", "us-gov-"))]


def test_an_unknown_parameter_is_not_found(account: Account, refused: Refuse) -> None:
    """ParameterNotFound, as for any name."""
    assert refused(account.client("ssm").get_parameter, Name="/aws/service/nothing").code == "ParameterNotFound"


def test_images_belong_to_their_publishers(account: Account) -> None:
    """Owners=amazon lists the catalogue, self nothing."""
    assert len(account.ec2.describe_images(Owners=["amazon"])["Images"]) == 4
    assert account.ec2.describe_images(Owners=["self"])["Images"] == []


def test_an_unknown_image_is_not_found(account: Account, refused: Refuse) -> None:
    """InvalidAMIID.NotFound."""
    assert refused(account.ec2.describe_images, ImageIds=["ami-0123456789abcdef0"]).code == "InvalidAMIID.NotFound"


def test_types_are_aws_s_own(account: Account, refused: Refuse) -> None:
    """GPU names and memory are told as AWS tells them; an unknown type is InvalidInstanceType."""
    ask = account.ec2.describe_instance_types
    gpu = ask(InstanceTypes=["g5.xlarge"])["InstanceTypes"][0]["GpuInfo"]["Gpus"][0]
    assert (gpu["Manufacturer"], gpu["Name"], gpu["MemoryInfo"]["SizeInMiB"]) == ("NVIDIA", "A10G", 22_888)
    assert refused(ask, InstanceTypes=["g5.colossal"]).code == "InvalidInstanceType"


def test_the_image_decides_what_is_on_a_machine(account: Account) -> None:
    """Plain Amazon Linux has nothing of NVIDIA's on a GPU machine either, and the other image has it everywhere."""
    for name, software in ((LINUX, Software.AMAZON_LINUX), (GPU, Software.DEEP_LEARNING)):
        image_id = account.client("ssm").get_parameter(Name=name.format("x86_64"))["Parameter"]["Value"]
        for instance_type in ("c5.large", "g4dn.xlarge"):
            machine = account.launch_running(ImageId=image_id, InstanceType=instance_type)
            assert account.hardware.machines[machine["InstanceId"]].software is software


def test_types_bring_their_instance_stores(account: Account) -> None:
    """As many disks as AWS lists for the type; no volume, and no mapping of a device."""
    for instance_type, disks in {"c5.large": (), "g4dn.xlarge": (125,), "g5.48xlarge": (3800, 3800)}.items():
        machine = account.launch_running(InstanceType=instance_type)
        assert account.hardware.machines[machine["InstanceId"]].instance_store_gb == disks
        assert len(machine["BlockDeviceMappings"]) == 1


def test_types_come_in_pages_and_fast_the_second_time(account: Account) -> None:
    """Many types take several pages; asked again the answers are at hand."""
    ask = account.ec2.get_paginator("describe_instance_types").paginate
    cheap = [{"Name": "instance-type", "Values": ["t3*", "m5*", "c5*"]}]
    pages = [[t["InstanceType"] for t in page["InstanceTypes"]] for page in ask(Filters=cheap)]
    told = [name for page in pages for name in page]
    assert len(pages[0]) == 100
    assert len(pages) > 1
    assert len(set(told)) == len(told)
    begun = monotonic()
    assert told == [t["InstanceType"] for page in ask(Filters=cheap) for t in page["InstanceTypes"]]
    assert monotonic() - begun < 3


def test_some_types_are_not_in_some_zones(account: Account) -> None:
    """Offerings by zone have holes, and prices and launches agree with them."""
    pages = account.ec2.get_paginator("describe_instance_type_offerings")
    filters = [{"Name": "instance-type", "Values": ["g5g.xlarge", "g5.xlarge"]}]
    offers = [o for page in pages.paginate(LocationType="availability-zone", Filters=filters)
              for o in page["InstanceTypeOfferings"]]  # fmt: skip
    places = {(o["InstanceType"], o["Location"][-1]) for o in offers}
    assert ("g5.xlarge", "f") in places
    assert ("g5g.xlarge", "f") not in places
    assert account.prices("g5g.xlarge").keys() == {f"us-east-1{z}" for t, z in places if t == "g5g.xlarge"}


def test_the_region_has_six_zones_with_default_subnets(account: Account) -> None:
    """us-east-1 has zones a to f, each with a default subnet that gives public addresses."""
    zones = [zone["ZoneName"] for zone in account.ec2.describe_availability_zones()["AvailabilityZones"]]
    subnets = account.ec2.describe_subnets()["Subnets"]
    assert zones == [f"us-east-1{letter}" for letter in "abcdef"]
    assert {s["AvailabilityZone"] for s in subnets if s["MapPublicIpOnLaunch"] and s["DefaultForAz"]} == set(zones)
    assert [vpc["IsDefault"] for vpc in account.ec2.describe_vpcs()["Vpcs"]] == [True]
