"""Key pairs: unique names, ids of their own, deletion by id compares before it deletes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.key_pairs import KeyPair
from moto.ec2.utils import public_key_parse

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError, not_found
from xportal.sandbox.api.ec2.filters import Accessor

FILTERS: Mapping[str, Accessor] = {
    "fingerprint": lambda k: k.key_fingerprint,
    "key-name": lambda k: k.key_name,
    "key-pair-id": lambda k: k.id,
}


def import_key_pair(backend: Ec2Backend, name: str, material: bytes, tags: dict[str, str]) -> KeyPair:
    """One of two imports of the same name is refused: that makes a key pair a lock."""
    check_new(backend, name)
    try:
        public_key_parse(material)
    except Exception as error:  # moto's parser raises whatever the bytes lead it to
        raise ApiError("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from error
    return backend.import_key_pair(name, material, tags)


def check_new(backend: Ec2Backend, name: str) -> None:
    if not name or len(name) > 255 or not name.isascii():
        raise ApiError("InvalidParameterValue", f"Invalid key name: '{name}'")
    if name in backend.key_pairs:
        raise ApiError("InvalidKeyPair.Duplicate", f"The keypair already exists: {name}")


def get_key_pairs(backend: Ec2Backend, params: Mapping[str, Any]) -> list[KeyPair]:
    """Those asked for by name or id (all must exist), or all."""
    everything = list(backend.key_pairs.values())
    names, ids = params.get("KeyNames", []), params.get("KeyPairIds", [])
    for name in names:
        if name not in backend.key_pairs:
            raise not_found("InvalidKeyPair", name)
    for key_id in ids:
        if key_id not in {key.id for key in everything}:
            raise not_found("InvalidKeyPair", key_id)
    return [k for k in everything if not (names or ids) or k.key_name in names or k.id in ids]


def delete_key_pair(backend: Ec2Backend, params: Mapping[str, Any]) -> str | None:
    """By name: gone or not, no error. By id: only that key, never another one of the same name."""
    name, key_id = params.get("KeyName"), params.get("KeyPairId")
    if not name and not key_id:
        raise ApiError("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
    found = next(
        (k for k in backend.key_pairs.values() if name in (None, k.key_name) and key_id in (None, k.id)),
        None,
    )
    if found is None:
        if key_id:
            raise not_found("InvalidKeyPair", key_id)
        return None
    del backend.key_pairs[found.key_name]
    backend.tags.pop(found.id, None)
    return found.id
