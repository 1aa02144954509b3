"""What things cost, in words: US dollars, as AWS bills them."""

from __future__ import annotations

from xportal.aws import tags
from xportal.aws.records import Instance

GP3_DOLLARS_A_MONTH = 0.08  # per GiB in us-east-1; other regions cost a little more


def volume_cost(size_gib: int) -> str:
    """What an awake drive costs."""
    return f"about ${size_gib * GP3_DOLLARS_A_MONTH:.2f} a month"


def price_of(machine: Instance) -> float | None:
    """The spot price an hour at its launch; None on demand."""
    told = machine.tags.get(tags.PRICE)
    return float(told) if told else None


def machine_cost(machine: Instance) -> str:
    """A machine and its price."""
    price = price_of(machine)
    return f"{machine.id} {machine.type} {'on demand' if price is None else f'spot ${price:.4g}/h'}"


def volume_text(volume_id: str, size_gib: int) -> str:
    """A volume and its price."""
    return f"{volume_id} {size_gib} GiB {volume_cost(size_gib)}"
