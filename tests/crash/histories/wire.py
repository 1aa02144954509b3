"""AWS's SDK, which reads once what is answered again, as lists are: histories make 100,000 calls."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from botocore.model import Shape
from botocore.parsers import QueryParser


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Have botocore read each answer once."""
    read: Callable[..., dict[str, Any]] = QueryParser._parse_body_as_xml  # type: ignore[attr-defined]  # private
    known: dict[tuple[object, ...], bytes] = {}

    def read_once(
        parser: QueryParser, response: dict[str, Any], shape: Shape | None, inject_metadata: bool = True
    ) -> Any:
        answer = (response["body"], shape and shape.name, inject_metadata)
        parsed = known.get(answer)
        if parsed is None:
            if len(known) > 1000:
                known.clear()
            parsed = known[answer] = pickle.dumps(read(parser, response, shape, inject_metadata))
        return pickle.loads(parsed)

    patch.setattr(QueryParser, "_parse_body_as_xml", read_once)
