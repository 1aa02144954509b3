"""What a watch goes by: its own options, and for the rest the spec file of the portal's last `up`. Pure."""

from __future__ import annotations

from dataclasses import replace

from xportal.portal.last_time import LastTime
from xportal.spec import Followed, MachineSpec, PortalSpec
from xportal.watch.step import Limits


def followed(portal: str, asked: MachineSpec, limits: Limits, last: LastTime | None) -> tuple[PortalSpec, Limits]:
    """The next machine, and where the watch ends. Raises UsageError where these exclude each other.

    `asked` and `limits` are the watch's own options: each that is given wins. A portal without a file leaves the rest
    open: the next machine is as the last one.
    """
    if asked.max_price is not None:
        limits = replace(limits, price=asked.max_price)
    if last is None or last.follows is None:
        return PortalSpec(portal, asked), limits
    told = last.follows
    limits = Limits(
        dollars=told.budget if limits.dollars is None else limits.dollars,
        hours=told.max_hours if limits.hours is None else limits.hours,
        price=told.end_price if limits.price is None else limits.price,
    )
    return PortalSpec(portal, _machine(asked, last, told), follows=told), limits


def _machine(asked: MachineSpec, last: LastTime, told: Followed) -> MachineSpec:
    """Who says GPU or CPU and no more gets a machine like the last one, which was that."""
    if asked.gpu is None and not asked.types and asked.min_gpu_memory_gib is None:
        asked = replace(asked, types=last.types, min_gpu_memory_gib=last.min_gpu_memory_gib)
        asked = replace(asked, gpu=last.gpu) if asked.types or asked.min_gpu_memory_gib is not None else asked
    if asked.on_demand is None and asked.max_price is None:
        asked = replace(asked, on_demand=told.on_demand, max_price=told.max_price)
    return replace(asked, architecture=asked.architecture or last.architecture)


def limits_text(limits: Limits) -> str:
    """Where the watch ends, as a clause."""
    parts = [
        f"when ${limits.dollars:g} are spent" if limits.dollars is not None else "",
        f"after {limits.hours:g} hours" if limits.hours is not None else "",
        f"when it costs more than ${limits.price:g}/h" if limits.price is not None else "",
    ]
    return " or ".join(filter(None, parts)) or "at no limit"
