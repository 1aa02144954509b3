"""The sandbox's one user: an access key like AWS's, made when a sandbox is started for the first time."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

_KEY_ID_LETTERS = string.ascii_uppercase + "234567"


@dataclass(frozen=True)
class Secret:
    """An access key. Whoever has it may do everything in the sandbox."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def generate(cls) -> Secret:
        """A new one: a key id of AWS's form, and 240 random bits."""
        letters = (secrets.choice(_KEY_ID_LETTERS) for _ in range(16))
        return cls(f"AKIA{''.join(letters)}", secrets.token_urlsafe(30))
