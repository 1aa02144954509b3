"""What things cost, in words: US dollars, as AWS bills them."""

from __future__ import annotations

from xportal import foreign
from xportal.aws import compute, storage, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.model import LIVE

GP3_DOLLARS_A_MONTH = 0.08  # per GiB in us-east-1; other regions cost a little more


def volume_cost(size_gib: int) -> str:
    """What an awake drive costs."""
    return f"about ${size_gib * GP3_DOLLARS_A_MONTH:.2f} a month"


def price_of(machine: Instance) -> float | None:
    """The spot price an hour at its launch; None on demand, or if the tag does not tell."""
    return foreign.amount(machine.tags.get(tags.PRICE, ""))


def machine_cost(machine: Instance) -> str:
    """A machine and its price."""
    return machine_text(machine.id, machine.type, machine.spot, price_of(machine))


def machine_text(machine_id: str, type_: str, spot: bool, price: float | None) -> str:
    """A machine and its price an hour, if that is known."""
    market = "spot" if spot else "on demand"
    return f"{machine_id} {type_} {market}" + (f" ${price:.4g}/h" if price is not None else "")


def volume_text(volume_id: str, size_gib: int) -> str:
    """A volume and its price."""
    return f"{volume_id} {size_gib} GiB {volume_cost(size_gib)}"


def billed(aws: Aws) -> list[str]:
    """What runs and costs money now, in words."""
    machines = [m for m in compute.list_instances(aws, tags.tag_filter(ours="1")) if m.state in LIVE]
    volumes = [v for v in storage.list_volumes(aws, tags.tag_filter(ours="1")) if tags.DRIVE in v.tags]
    return [machine_cost(m) for m in machines] + [volume_text(v.id, v.size_gib) for v in volumes]
