"""STS: moto's, and what a refusal of EC2 has in its encoded message."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

from moto.core.responses import ActionResult
from moto.sts.responses import TokenResponse

from xportal.sandbox.api.errors import RefusedError


def encoded(told: dict[str, Any]) -> str:
    """A refusal as EC2 encodes it: only DecodeAuthorizationMessage can read it."""
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(told).encode())).decode().rstrip("=")


class StsResponse(TokenResponse):
    """Under the API's lock."""

    def decode_authorization_message(self) -> ActionResult:
        """The refusal, as JSON."""
        text = self._get_param("EncodedMessage") or ""
        try:
            told = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).decode()
        except (binascii.Error, zlib.error, UnicodeError) as error:
            raise RefusedError("InvalidAuthorizationMessageException", "Message is not valid") from error
        return ActionResult({"DecodedMessage": told})
