"""The order of elements in EC2's answers, which AWS says may vary: here no two answers have the same."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from moto.core.serialize import EC2Serializer

_orders = random.Random(1)


def shuffled(value: Any) -> Any:
    """The same elements in another order, at every depth; lists keep theirs."""
    if isinstance(value, Mapping):
        items = [(key, shuffled(item)) for key, item in value.items()]
        _orders.shuffle(items)
        return dict(items)
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def shuffle_elements() -> None:
    """Have moto write every answer of EC2 so. Called once, when EC2's calls are defined."""
    in_order = EC2Serializer._serialize_body

    def write(serializer: EC2Serializer, body: Mapping[str, Any]) -> str:
        return str(in_order(serializer, shuffled(body)))

    EC2Serializer._serialize_body = write  # type: ignore[method-assign,assignment]
