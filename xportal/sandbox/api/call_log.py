"""The log of API calls: what was asked, by operation and parameters, and how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

KEPT = 10_000
SECRET = ("UserData", "PrivateKey")


@dataclass(frozen=True)
class Call:
    """One call; `error` is AWS's code when it was refused, `faults` are those that hit it. `caller` is the ARN of the
    role or IAM user that made it, and empty for the account's own user.
    """

    time: str
    service: str
    region: str
    operation: str
    caller: str
    parameters: Any
    status: int
    error: str | None = None
    faults: tuple[str, ...] = ()


class CallLog:
    """The latest calls. Appending and copying a deque are atomic, so no lock."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT)

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def clear(self) -> None:
        self._calls.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in list(self._calls)]


def plain(value: Any, name: str = "") -> Any:
    """The value as JSON can say it; user data by its length alone, since it holds a private host key."""
    if name in SECRET and isinstance(value, (str, bytes)):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {str(key): plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, datetime) else value
