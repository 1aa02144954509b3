"""The sandbox's admin routes, called from this computer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

from xportal.errors import Refused, Unreachable, UsageError

_TIMEOUT_S = 30


def call(endpoint_url: str, method: str, route: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of `/_xportal/<route>`. Unreachable when nothing answers, UsageError or Refused when it says no."""
    request = urllib.request.Request(
        f"{endpoint_url}/_xportal/{route}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    # The sandbox is on this computer: no proxy of the environment leads to it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace").strip()
        refusal = UsageError if error.code == HTTPStatus.BAD_REQUEST else Refused
        raise refusal(f"the sandbox refused {route}: {_reason(text) or error.reason}") from error
    except OSError as error:
        raise Unreachable(
            f"the sandbox at {endpoint_url} does not answer: {error}", hint="xportal sandbox start"
        ) from error


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
