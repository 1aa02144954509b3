"""ClientTokens: the same request again gives the same resources, another request is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from moto.core.utils import utcnow

from xportal.sandbox.api.ec2.errors import ApiError
from xportal.sandbox.api.ec2.records.token_use import TokenUse

REMEMBERED = timedelta(hours=24)
TOKEN_MAX = 64


def find_earlier(uses: dict[str, TokenUse], params: Mapping[str, Any]) -> list[str] | None:
    """Ids made by an earlier request of this token; None for a new or absent one."""
    token = params.get("ClientToken")
    if not token:
        return None
    if len(token) > TOKEN_MAX:
        raise ApiError("InvalidParameterValue", f"ClientToken exceeds {TOKEN_MAX} characters")
    for old in [t for t, use in uses.items() if utcnow() - use.used_at > REMEMBERED]:
        del uses[old]
    use = uses.get(token)
    if use is None:
        return None
    if use.fingerprint != _fingerprint(params):
        raise ApiError(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
    return use.ids


def remember(uses: dict[str, TokenUse], params: Mapping[str, Any], ids: list[str]) -> None:
    if params.get("ClientToken"):
        uses[params["ClientToken"]] = TokenUse(_fingerprint(params), ids, utcnow())


def _fingerprint(params: Mapping[str, Any]) -> str:
    text = json.dumps(params, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
