"""Answers to AWS's SDK that came over no wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.awsrequest import AWSResponse


class Body:
    """What botocore reads a response from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All at once."""
        yield self._data


def make_answer(url: str, status: int, headers: Mapping[str, str], body: bytes) -> AWSResponse:
    """An answer from `url`. Botocore takes any mapping for its headers; the types know of its own alone."""
    return AWSResponse(url, status, headers, Body(body))  # type: ignore[arg-type]
