"""Spot requests: which options EC2 refuses, and what becomes of a request that is cancelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.catalogue import get_type
from xportal.sandbox.api.ec2.errors import ApiError, invalid_value, not_found
from xportal.sandbox.api.ec2.filters import Accessor
from xportal.sandbox.api.ec2.prices import spot_price
from xportal.sandbox.api.ec2.records.spot_request import SpotRequest

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
    everything = list(backend.spot_instance_requests.values())
    for request_id in ids:
        if request_id not in backend.spot_instance_requests:
            raise not_found("InvalidSpotInstanceRequestID", request_id)
    return [request for request in everything if not ids or request.id in ids]


def cancel(request: SpotRequest) -> None:
    """The request ends; the instance goes on."""
    if request.state == "active":
        request.state = "cancelled"
        request.tell("request-canceled-and-instance-running")
