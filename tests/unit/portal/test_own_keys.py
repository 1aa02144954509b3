"""A key of the user's own: read here, added there."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from xportal.errors import UsageError
from xportal.portal.own_keys import add_public_keys, read_public_keys
from xportal.remote import Completed


def new_key() -> str:
    """A public key."""
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class Here:
    """FAKE of a Host: a shell of this computer, with another home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        """To its end, which must be good."""
        done = subprocess.run(argv, env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"}, check=True)
        return Completed("", "", done.returncode)

    lines: Any = None
    put: Any = None
    docker: Any = None
    close: Any = None


def test_keys_are_added_once_and_others_stay(tmp_path: Path) -> None:
    """Also those of a file whose last line has no end, and with options before the key."""
    own, new, another = new_key(), f"{new_key()} me@work", new_key()
    host = Here(tmp_path)
    add_public_keys(host, [new])
    keys = tmp_path / ".ssh/authorized_keys"
    assert keys.read_text() == f"{new}\n"
    assert (keys.parent.stat().st_mode & 0o777, keys.stat().st_mode & 0o777) == (0o700, 0o600)
    text = f'# mine\nrestrict,command="true" {own} old comment'
    keys.write_text(text)
    add_public_keys(host, [f"{own} new comment", new, another])
    add_public_keys(host, [new])
    assert keys.read_text() == f"{text}\n{new}\n{another}\n"


def test_what_is_no_public_key_is_refused(tmp_path: Path) -> None:
    """Before anything is launched: a private key, another format, a key cut short, one of another type than it says."""
    path, key = tmp_path / "id.pub", new_key()
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    wrong = {
        private: "is a private key",
        "": "no public key",
        f'command="x" {key}': "no public key",
        key[:20]: "no public key",
        key.replace("ssh-ed25519", "ssh-rsa"): "no public key",
        f"{key} comment\x1b[31m": "no public key",
        f"{key}\nnonsense": "no public key",
    }
    for text, says in wrong.items():
        path.write_text(text)
        with pytest.raises(UsageError, match=says):
            read_public_keys(path)
    path.write_text(f"# two\n{key} me\r\n\n{key}\n")
    assert read_public_keys(path) == (f"{key} me", key)
