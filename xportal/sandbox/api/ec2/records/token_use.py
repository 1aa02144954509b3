"""What a ClientToken was used for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass
class TokenUse:
    """A ClientToken: the request it came with and what that made."""

    fingerprint: str
    ids: list[str]
    used_at: datetime
