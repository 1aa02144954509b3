"""EC2 calls on what can be rented: types, zones, prices, images."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.instance_types import InstanceType

from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.filters import page
from xportal.sandbox.api.ec2.price_history import price_history

# The regions of AWS from before March 2019, which no account needs to opt in to.
ENABLED = frozenset(
    f"{place}-{number}"
    for place, numbers in {
        "us-east": "12", "us-west": "12", "ca-central": "1", "sa-east": "1", "eu-west": "123", "eu-central": "1",
        "eu-north": "1", "ap-south": "1", "ap-southeast": "12", "ap-northeast": "123",
    }.items()
    for number in numbers
)  # fmt: skip
OTHER_PARTITIONS = ("cn-", "us-gov-")
TYPES_PAGE = 100
KEPT_MAX = 200


class CatalogueCalls(Calls):
    def describe_regions(self) -> ActionResult:
        """Those that a new account has enabled: the others are opted in to, one by one."""
        given = self.given
        self.error_on_dryrun()
        wanted = given.get("RegionNames") or []
        ours = [r for r in self.backend.describe_regions(wanted) if not r.name.startswith(OTHER_PARTITIONS)]
        found = ours if given.get("AllRegions") else [r for r in ours if r.name in ENABLED]
        shown = [
            {
                "RegionName": region.name,
                "Endpoint": region.endpoint,
                "OptInStatus": "opt-in-not-required" if region.name in ENABLED else "not-opted-in",
            }
            for region in found
        ]
        return ActionResult({"Regions": shown})

    def describe_availability_zones(self) -> ActionResult:
        known = {zone.name for zone in self.backend.describe_availability_zones()}
        for zone in self.given.get("ZoneNames", []):
            if zone not in known:
                raise ApiError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        answer: ActionResult = super().describe_availability_zones()  # type: ignore[misc]
        return answer

    def describe_instance_types(self) -> Any:
        """The answers never change and take moto a while to write: each is kept."""
        question = json.dumps([self.region, self.given], sort_keys=True, default=str)
        kept = _kept_answers()
        if len(kept) > KEPT_MAX:
            kept.clear()
        if question not in kept:
            kept[question] = self.serialized(self._instance_types())
        status, headers, body = kept[question]
        return status, dict(headers), body

    def _instance_types(self) -> ActionResult:
        given = self.given
        filters = {f["Name"]: f.get("Values", []) for f in given.get("Filters", [])}
        found: list[InstanceType] = self.backend.describe_instance_types(given.get("InstanceTypes", []), filters)
        shown, token = page(
            found, given, key=lambda t: str(t["InstanceType"]), default=TYPES_PAGE, limits=(5, TYPES_PAGE)
        )
        return ActionResult({"InstanceTypes": shown, "NextToken": token})

    def describe_instance_type_offerings(self) -> ActionResult:
        given = self.given
        filters = {f["Name"]: f.get("Values", []) for f in given.get("Filters", [])}
        found: list[dict[str, Any]] = self.backend.describe_instance_type_offerings(given.get("LocationType"), filters)
        shown, token = page(
            found, given, key=lambda offer: f"{offer['InstanceType']}/{offer['Location']}", default=1000
        )
        return ActionResult({"InstanceTypeOfferings": shown, "NextToken": token})

    def describe_spot_price_history(self) -> ActionResult:
        given = self.given
        self.error_on_dryrun()
        prices = price_history(self.backend.region_name, given)
        shown, token = page(
            prices,
            given,
            key=lambda p: f"{p.instance_type}/{p.availability_zone}/{p.product_description}",
            default=1000,
            limits=(1, 1000),
        )
        return ActionResult({"SpotPriceHistory": shown, "NextToken": token})


@lru_cache(maxsize=1)
def _kept_answers() -> dict[str, Any]:
    return {}
