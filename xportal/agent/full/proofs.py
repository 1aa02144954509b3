"""What proves of a final save that the machine of its drive took it, and that no other did.

Whoever may call CreateSnapshot can give a snapshot any tags and any description. So each launch puts a seal on its
volumes, which nobody but the account's users can do: the hash of a proof that the machine can make of its host key,
which no other machine knows. The machine shows the proof on its final save, after the last unmount, and not before.
"""

from __future__ import annotations

import base64
import hashlib

from ..core.config import Paths

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def proof_of(host_key: str, drive: str) -> str:
    """The proof for one drive, from the private host key of its machine. White space in a key file tells nothing."""
    return _digest(f"final save of {drive}\n{''.join(host_key.split())}")


def seal_of(proof: str, drive: str) -> str:
    """What shows that a proof is right, and tells nothing of it. The seal of one drive fits no other."""
    return _digest(f"{proof} {drive}")


def find_proof(paths: Paths, drive: str) -> str:
    """This machine's proof for a drive; nothing if it has no host key of ours: its save is then taken once more."""
    try:
        return proof_of((paths.root / HOST_KEY).read_text(), drive)
    except (OSError, ValueError):
        return ""


def _digest(text: str) -> str:
    """128 bits, in 22 characters: the seals of all drives that a machine can have fit one tag."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=")
