"""The spot prices as EC2 tells them, by type, zone and product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.core.utils import utcnow

from xportal.sandbox.api.ec2.catalogue import get_type, zones_of_types
from xportal.sandbox.api.ec2.filters import Accessor, select
from xportal.sandbox.api.ec2.prices import PRODUCTS, spot_price


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
