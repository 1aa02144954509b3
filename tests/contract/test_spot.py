"""Rules of spot: requests, prices, interruptions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.contract.conftest import Account, Refuse, make_client
from xportal.sandbox.hardware.files import FileHardware


def test_a_spot_launch_has_an_active_request(account: Account) -> None:
    """A one-time request, active and fulfilled, points at the instance and back."""
    instance = account.launch_spot()
    request = account.spot_request(instance)
    assert (request["InstanceId"], request["State"], request["Type"]) == (instance["InstanceId"], "active", "one-time")
    assert (request["Status"]["Code"], instance["InstanceLifecycle"]) == ("fulfilled", "spot")
    found = account.ec2.describe_instances(
        Filters=[{"Name": "spot-instance-request-id", "Values": [request["SpotInstanceRequestId"]]}]
    )
    assert found["Reservations"]


def test_an_on_demand_launch_has_no_request(account: Account) -> None:
    """Without a market there is no lifecycle and no request."""
    instance = account.launch_running()
    assert "InstanceLifecycle" not in instance
    assert "SpotInstanceRequestId" not in instance


def test_the_request_closes_with_its_instance(account: Account) -> None:
    """Terminating the instance closes the request."""
    instance = account.launch_spot()
    account.terminate(instance)
    request = account.spot_request(instance)
    assert (request["State"], request["Status"]["Code"]) == ("closed", "instance-terminated-by-user")


def test_a_cancelled_request_leaves_the_instance(account: Account) -> None:
    """CancelSpotInstanceRequests ends the request alone."""
    instance = account.launch_spot()
    reply = account.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[instance["SpotInstanceRequestId"]])
    assert reply["CancelledSpotInstanceRequests"][0]["State"] == "cancelled"
    assert account.instance(instance["InstanceId"])["State"]["Name"] == "running"


def test_a_one_time_spot_instance_cannot_be_stopped(account: Account, refused: Refuse) -> None:
    """StopInstances on it is UnsupportedOperation."""
    instance = account.launch_spot()
    assert refused(account.ec2.stop_instances, InstanceIds=[instance["InstanceId"]]).code == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"MaxPrice": "0.0011"}, "SpotMaxPriceTooLow"),
        ({"MaxPrice": "0.0001"}, "InvalidParameterValue"),
        ({"MaxPrice": "cheap"}, "InvalidParameterValue"),
        (
            {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "terminate"},
            "InvalidParameterCombination",
        ),
        ({"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "stop"}, "InvalidParameterCombination"),
    ],
)
def test_wrong_spot_options_are_refused(account: Account, refused: Refuse, options: dict[str, str], code: str) -> None:
    """A price below the market's and combinations that AWS does not have, each with its code."""
    market = {"MarketType": "spot", "SpotOptions": options}
    assert refused(account.launch, InstanceMarketOptions=market).code == code


def test_a_sufficient_max_price_is_accepted(account: Account) -> None:
    """At the market's price the launch goes through."""
    price = account.price("t3.medium", "us-east-1a")
    market = {"MarketType": "spot", "SpotOptions": {"MaxPrice": f"{price}"}}
    assert account.launch(InstanceMarketOptions=market)


@pytest.mark.parametrize(
    ("instance_type", "low", "high"),
    [("g4dn.xlarge", 0.16, 0.26), ("g5.xlarge", 0.3, 0.55), ("t3.medium", 0.0125, 0.022), ("m5.large", 0.028, 0.05)],
)
def test_prices_are_of_the_real_order(account: Account, instance_type: str, low: float, high: float) -> None:
    """Every zone's price is about what the spot market really asks, and zones differ."""
    prices = account.prices(instance_type)
    assert all(low <= price <= high for price in prices.values()), prices
    assert len(set(prices.values())) > 1


def test_only_the_product_asked_for_is_told(account: Account) -> None:
    """ProductDescriptions selects; without it Windows is told as well."""
    ask = account.ec2.describe_spot_price_history
    linux = ask(InstanceTypes=["g5.xlarge"], ProductDescriptions=["Linux/UNIX"])["SpotPriceHistory"]
    assert {line["ProductDescription"] for line in linux} == {"Linux/UNIX"}
    everything = ask(InstanceTypes=["g5.xlarge"])["SpotPriceHistory"]
    assert {line["ProductDescription"] for line in everything} == {"Linux/UNIX", "Windows"}


def test_start_now_gives_the_current_price_once(account: Account) -> None:
    """With StartTime=now there is one line for each zone that offers the type, in force already."""
    now = datetime.now(timezone.utc)
    lines = account.ec2.describe_spot_price_history(
        InstanceTypes=["g4dn.xlarge"], ProductDescriptions=["Linux/UNIX"], StartTime=now
    )["SpotPriceHistory"]
    zones = [line["AvailabilityZone"] for line in lines]
    assert len(zones) == len(set(zones)) > 3
    assert "us-east-1e" not in zones
    assert all(line["Timestamp"] <= now for line in lines)


def test_an_interruption_is_announced_then_the_power_goes(account: Account, hardware: FileHardware) -> None:
    """The notice stands in IMDS and in the request's status while it runs; at its time the instance ends."""
    instance = account.launch_spot(BlockDeviceMappings=[account.drive()])
    before = datetime.now(timezone.utc)
    account.admin("POST", "interrupt", instance_id=instance["InstanceId"], notice_seconds=0.5)
    notice = account.cloud.metadata(instance["InstanceId"]).notice
    assert notice is not None
    assert (notice.action, notice.time - before < timedelta(seconds=2)) == ("terminate", True)
    assert account.spot_request(instance)["Status"]["Code"] == "instance-terminated-no-capacity"
    assert account.instance(instance["InstanceId"])["State"]["Name"] == "running"
    ended = account.wait_instance(instance["InstanceId"], "terminated")
    assert ended["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert hardware.cuts == [instance["InstanceId"]]
    assert account.spot_request(instance)["State"] == "closed"
    assert account.volume(account.drive_of(instance))["State"] == "available"


def test_an_interruption_can_come_without_a_notice(account: Account) -> None:
    """With notice=false IMDS says nothing before the end."""
    instance = account.launch_spot()["InstanceId"]
    account.admin("POST", "interrupt", instance_id=instance, notice_seconds=0.3, notice=False)
    assert account.cloud.metadata(instance).notice is None
    account.wait_instance(instance, "terminated")


def test_interrupting_what_does_not_run_is_an_error(account: Account) -> None:
    """Unknown ids are 404, others than running ones 409."""
    instance = account.launch_spot()
    account.terminate(instance)
    over = {"instance_id": instance["InstanceId"]}
    assert account.ask_admin("POST", "interrupt", json=over).status_code == 409
    assert account.ask_admin("POST", "interrupt", json={"instance_id": "i-0"}).status_code == 404


def test_other_regions_have_prices_and_images_too(account: Account) -> None:
    """A client of another region finds zones, prices and a launch of its own there."""
    client = make_client("ec2", account.cloud.endpoint_url, "eu-west-1")
    zones = {zone["ZoneName"] for zone in client.describe_availability_zones()["AvailabilityZones"]}
    prices = client.describe_spot_price_history(InstanceTypes=["g4dn.xlarge"])["SpotPriceHistory"]
    assert {line["AvailabilityZone"] for line in prices} <= zones
    images = client.describe_images(Owners=["amazon"])["Images"]
    image = next(i["ImageId"] for i in images if i["Architecture"] == "x86_64")
    assert image != account.image_id
    assert client.run_instances(ImageId=image, InstanceType="t3.medium", MinCount=1, MaxCount=1)["Instances"]
    assert account.all_instances() == []
