"""Spot: requests that follow their instance, and the price table as EC2 tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.core.utils import utcnow
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import random_spot_request_id

from xportal.sandbox.api.catalogue import get_type, zones_of_types
from xportal.sandbox.api.errors import ApiError, invalid_value, not_found
from xportal.sandbox.api.filters import Accessor, select
from xportal.sandbox.api.prices import PRODUCTS, spot_price

if TYPE_CHECKING:
    from xportal.sandbox.api.backend import Ec2Backend
    from xportal.sandbox.api.instances import Instance

MESSAGES = {
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-terminated-by-user": "Spot Instance terminated due to user-initiated termination.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated: there is no Spot capacity available.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
}


class SpotRequest(TaggedEC2Resource):
    """A one-time request: active while its instance lives, then closed."""

    def __init__(self, backend: Ec2Backend, instance: Instance, options: Mapping[str, Any], price: float) -> None:
        self.ec2_backend = backend
        self.id = random_spot_request_id()
        self.instance_id = instance.id
        self.launched_availability_zone = instance.availability_zone
        self.instance_interruption_behavior = options.get("InstanceInterruptionBehavior") or "terminate"
        self.type = options.get("SpotInstanceType") or "one-time"
        self.spot_price = f"{float(options.get('MaxPrice') or price):.6f}"
        self.product_description = "Linux/UNIX"
        self.create_time = utcnow()
        self.state = "active"
        self.status = _status("fulfilled")
        self.launch_specification = {
            "ImageId": instance.image_id,
            "InstanceType": instance.instance_type,
            "KeyName": instance.key_name,
            "SubnetId": instance.subnet_id,
            "Placement": {"AvailabilityZone": instance.availability_zone},
            "SecurityGroups": [{"GroupId": g.id, "GroupName": g.name} for g in instance.security_groups],
            "Monitoring": {"Enabled": False},
        }

    @property
    def spot_instance_request_id(self) -> str:
        return self.id

    def tell(self, code: str) -> None:
        """Change the status alone: an interruption is seen here before the instance ends."""
        self.status = _status(code)

    def close(self) -> None:
        """The instance is gone. A status told earlier stays."""
        if self.state == "active":
            self.state = "closed"
            if self.status["Code"] == "fulfilled":
                self.tell("instance-terminated-by-user")


def _status(code: str) -> dict[str, Any]:
    return {"Code": code, "Message": MESSAGES[code], "UpdateTime": utcnow()}


FILTERS: Mapping[str, Accessor] = {
    "availability-zone-group": lambda r: None,
    "create-time": lambda r: r.create_time,
    "instance-id": lambda r: r.instance_id,
    "launch.image-id": lambda r: r.launch_specification["ImageId"],
    "launch.instance-type": lambda r: r.launch_specification["InstanceType"],
    "launch.key-name": lambda r: r.launch_specification["KeyName"],
    "launched-availability-zone": lambda r: r.launched_availability_zone,
    "spot-instance-request-id": lambda r: r.id,
    "spot-price": lambda r: r.spot_price,
    "state": lambda r: r.state,
    "status-code": lambda r: r.status["Code"],
    "type": lambda r: r.type,
}


def check_market(options: Mapping[str, Any], instance_type: str, zone: str) -> None:
    """Refuse spot options that AWS refuses; `options` is SpotOptions."""
    kind = options.get("SpotInstanceType") or "one-time"
    behaviour = options.get("InstanceInterruptionBehavior") or "terminate"
    if kind == "one-time" and behaviour != "terminate":
        raise ApiError(
            "InvalidParameterCombination", f"The interruption behavior {behaviour} is not valid for one-time requests"
        )
    if kind == "persistent" and behaviour == "terminate":
        raise ApiError("InvalidParameterCombination", "Persistent requests can stop or hibernate, not terminate")
    if "spot" not in get_type(instance_type).markets:
        raise ApiError("Unsupported", f"The instance type {instance_type} is not offered as Spot")
    check_price(options.get("MaxPrice"), instance_type, zone)


def check_price(asked: str | None, instance_type: str, zone: str) -> None:
    if asked is None:
        return
    try:
        limit = float(asked)
    except ValueError as error:
        raise invalid_value(f"Invalid value for parameter maxPrice: {asked}") from error
    if limit < 0.001:
        raise invalid_value("The maximum price must be greater than 0.001")
    price = spot_price(instance_type, zone)
    if limit < price:
        raise ApiError(
            "SpotMaxPriceTooLow",
            f"Your Spot request price of {limit} is lower than the minimum required "
            f"Spot request fulfillment price of {price}.",
        )


def get_requests(backend: Ec2Backend, ids: Sequence[str]) -> list[SpotRequest]:
    everything: list[SpotRequest] = list(backend.spot_instance_requests.values())
    for request_id in ids:
        if request_id not in backend.spot_instance_requests:
            raise not_found("InvalidSpotInstanceRequestID", request_id)
    return [request for request in everything if not ids or request.id in ids]


def cancel(request: SpotRequest) -> None:
    """The request ends; the instance goes on."""
    if request.state == "active":
        request.state = "cancelled"
        request.tell("request-canceled-and-instance-running")


@dataclass(frozen=True)
class Price:
    """One line of the price history."""

    instance_type: str
    availability_zone: str
    product_description: str
    spot_price: str
    timestamp: datetime


PRICE_FILTERS: Mapping[str, Accessor] = {
    "availability-zone": lambda p: p.availability_zone,
    "instance-type": lambda p: p.instance_type,
    "product-description": lambda p: p.product_description,
    "spot-price": lambda p: p.spot_price,
    "timestamp": lambda p: p.timestamp,
}


def price_history(region: str, params: Mapping[str, Any]) -> list[Price]:
    """The current prices, in force since the hour began (or since StartTime was asked to begin before it)."""
    types = params.get("InstanceTypes")
    products = [name.removesuffix(" (Amazon VPC)") for name in params.get("ProductDescriptions", PRODUCTS)]
    zone = params.get("AvailabilityZone")
    since = _in_force_since(params.get("StartTime"))
    prices = [
        Price(name, place, product, f"{spot_price(name, place, product):.6f}", since)
        for name, places in zones_of_types(region).items()
        if (not types or name in types) and "spot" in get_type(name).markets
        for place in places
        if zone in (None, place)
        for product in products
        if product in PRODUCTS
    ]
    return select(prices, params.get("Filters", []), PRICE_FILTERS)


def _in_force_since(start: datetime | None) -> datetime:
    hour = utcnow().replace(minute=0, second=0, microsecond=0)
    if start is None:
        return hour
    if start.tzinfo is not None:
        start = start.astimezone(timezone.utc).replace(tzinfo=None)
    return min(hour, start)
