"""What AWS announces: the spot interruption notice."""

from __future__ import annotations

import calendar
import json
import re
import time
from dataclasses import dataclass
from typing import Optional

from .imds import Imds

NOMINAL_SECONDS = 120.0


@dataclass(frozen=True)
class Notice:
    """AWS's words: what happens to the machine, and when (UTC). `time` may be what is no time."""

    action: str
    time: str

    @property
    def save(self) -> str:
        """The id of its save: one notice, read again and again, is one save."""
        return f"notice-{re.sub('[^A-Za-z0-9]', '', self.time)[:40]}"

    def left(self, now: float) -> float:
        """Seconds until it happens, `now` being seconds since 1970 by AWS's clock."""
        try:
            return calendar.timegm(time.strptime(self.time, "%Y-%m-%dT%H:%M:%SZ")) - now
        except ValueError:
            return NOMINAL_SECONDS


def find_notice(imds: Imds) -> Optional[Notice]:
    """The spot interruption notice, once there is one. What cannot be read is one all the same."""
    told = imds.find("spot/instance-action")
    if told is None:
        return None
    facts = read(told)
    return Notice(str(facts.get("action", "terminate")), str(facts.get("time", "")))


def read(text: str) -> dict:  # type: ignore[type-arg]
    """A JSON object, or nothing."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
