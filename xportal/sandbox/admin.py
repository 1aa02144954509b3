"""The sandbox's admin routes, called from this computer, signed with the sandbox's secret."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from xportal.errors import Refused, Unreachable, UsageError
from xportal.sandbox.profile import REGION
from xportal.sandbox.secret import Secret
from xportal.sandbox.sigv4 import sign

SERVICE = "xportal-sandbox"  # in the signature's scope, where AWS's services have their name
_TIMEOUT_S = 30


def call(endpoint_url: str, secret: Secret, method: str, route: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of `/_xportal/<route>`. Unreachable when nothing answers, UsageError or Refused when it says no."""
    path, data = f"/_xportal/{route}", b"" if body is None else json.dumps(body).encode()
    signed = sign(
        secret.access_key_id,
        secret.secret_access_key,
        region=REGION,
        service=SERVICE,
        method=method,
        host=urlsplit(endpoint_url).netloc,
        path=path,
        body=data,
        now=datetime.now(timezone.utc),
    )
    request = urllib.request.Request(
        f"{endpoint_url}{path}",
        method=method,
        data=data or None,
        headers={"Content-Type": "application/json", **signed},
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
