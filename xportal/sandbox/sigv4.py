"""AWS's Signature Version 4: the signature of a request, for those who sign and for those who check. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def canonical_request(
    method: str, path: str, query: Iterable[tuple[str, str]], headers: Sequence[tuple[str, str]], body: bytes
) -> str:
    """What is signed of a request. `headers` are those that are signed: names in lower case, in order."""
    pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in query)
    return "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(value.split())}" for name, value in headers),
            "",
            ";".join(name for name, _ in headers),
            hashlib.sha256(body).hexdigest(),
        ]
    )


def signature(secret_key: str, scope: str, time: str, canonical: str) -> str:
    """The signature in hexadecimal digits.

    `scope` is like 20261122/us-east-1/ec2/aws4_request, `time` like 20261122T131415Z.
    """
    text = "\n".join([ALGORITHM, time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return _mac(_signing_key(secret_key, scope), text).hex()


def sign(
    key_id: str,
    secret_key: str,
    *,
    region: str,
    service: str,
    method: str,
    host: str,
    path: str,
    body: bytes,
    now: datetime,
) -> dict[str, str]:
    """The headers that sign a request without a query. `now` is UTC."""  # fmt: skip
    time = now.strftime(TIME_FORMAT)
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    headers = [("host", host), ("x-amz-date", time)]
    signed = signature(secret_key, scope, time, canonical_request(method, path, [], headers, body))
    names = ";".join(name for name, _ in headers)
    authorization = f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signed}"
    return {"Host": host, "X-Amz-Date": time, "Authorization": authorization}


@lru_cache(maxsize=64)  # one for each day, region and service: deriving it is more than half of the work
def _signing_key(secret_key: str, scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
