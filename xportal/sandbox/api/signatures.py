"""AWS's Signature Version 4, checked: what a machine signs with its role's key."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from werkzeug.wrappers import Request

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/\s]+/(?P<scope>[^,\s]+), *SignedHeaders=(?P<headers>[^,\s]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


def is_signed(request: Request, secret_key: str) -> bool:
    """Whether the request's signature is this key's, over all that it says is signed. Without the host it is not."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if not match or "host" not in match["headers"].split(";"):
        return False
    scope = match["scope"]  # 20261122/us-east-1/ec2/aws4_request
    hashed = hashlib.sha256(_canonical(request, match["headers"].split(";")).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers.get("X-Amz-Date", ""), scope, hashed])
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _sign(key, part)
    return hmac.compare_digest(_sign(key, text).hex(), match["signature"])


def _canonical(request: Request, signed: list[str]) -> str:
    query = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in request.args.items(multi=True))
    return "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(request.get_data()).hexdigest(),
        ]
    )


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
