"""Login keys of the user's own, beside xportal's: in ~/.ssh/authorized_keys of the login user, so on the drive."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from xportal import local
from xportal.errors import UsageError
from xportal.remote import Host

_PUBLIC_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" ([A-Za-z0-9+/]+={0,2})( [^\x00-\x1f\x7f]*)?"
)
# What is there stays, also a last line without its end. A key that is there already is not added again.
_ADD = """set -e
umask 077
mkdir -p ~/.ssh
keys=~/.ssh/authorized_keys
touch "$keys"
for key; do
    words=${key#* }
    if ! grep -qF -- "${key%% *} ${words%% *}" "$keys"; then
        [ -z "$(tail -c 1 "$keys")" ] || echo >> "$keys"
        printf '%s\\n' "$key" >> "$keys"
    fi
done"""


def read_public_keys(path: Path) -> tuple[str, ...]:
    """The keys of a file as ssh-keygen writes it (ID.pub), one a line. Raises UsageError, LocalFileError."""
    with local.files(f"--ssh-key {path}"):
        text = path.read_bytes().decode(errors="replace")
    hint = "a public key's file, as ~/.ssh/id_ed25519.pub"
    if "PRIVATE KEY" in text:
        raise UsageError(
            f"--ssh-key {path} is a private key, which stays on this computer", hint=f"{path}.pub, perhaps"
        )
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys or not all(map(_is_public_key, keys)):
        raise UsageError(f"--ssh-key {path} holds no public key of ssh's", hint=hint)
    return keys


def add_public_keys(host: Host, keys: Sequence[str]) -> None:
    """Let them in, on this machine and all later ones of its drive. Idempotent. Raises RemoteFailed, MachineLost."""
    host.run(["sh", "-c", _ADD, "add-keys", *keys])


def _is_public_key(line: str) -> bool:
    """Whether its words are a type and the key of that type, which begins with the type's name."""
    found = _PUBLIC_KEY.fullmatch(line)
    if found is None:
        return False
    try:
        raw = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return False
    return raw.startswith(len(found[1]).to_bytes(4, "big") + found[1].encode())
