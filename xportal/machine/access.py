"""Login keys on this computer, and the address from which the cloud sees it.

Nothing here has to survive: a lost key is replaced through EC2 Instance Connect.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from xportal import foreign, local
from xportal.errors import Unreachable
from xportal.machine.userdata import HostKey, new_host_key

UNUSED_SECONDS = 30 * 86_400.0
CHECK_ADDRESS_URL = "https://checkip.amazonaws.com"


def key_file(launch: str) -> Path:
    """Where the private login key of a launch lies on the computer that made it.

    `launch` may come from a tag: raises Malformed if it could be anything but the beginning of a file's name there.
    """
    stem = foreign.file_stem(launch)
    if stem is None:
        raise foreign.Malformed(f"{launch!r} is no launch's id")
    return local.state_dir() / f"{stem}.key"


def _our_files() -> AbstractContextManager[None]:
    return local.files("the login keys of this computer", hint="XDG_STATE_HOME=DIR puts them elsewhere")


@dataclass
class Claim:
    """The right to bring a drive up: a launch id and its login key. Held by one process at a time (flock)."""

    launch: str
    public_key: bytes
    holder: str
    _descriptor: int
    in_doubt: bool = False  # AWS was asked for a machine, and what became of that is not known

    def release(self) -> None:
        """Let another process of this computer go on with it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def new_claim() -> Claim:
    """A new launch id with a new ed25519 key, written to disk (0600) before anything is asked of AWS."""
    launch = secrets.token_hex(8)
    write_login_key(launch)
    claim = find_claim(launch)
    if claim is None:
        raise AssertionError(f"{key_file(launch)} is new and cannot be locked")
    return claim


def find_claim(launch: str) -> Claim | None:
    """The claim that an earlier, interrupted `up` of this computer left; None if there is none or it still runs.

    `launch` may come from a tag: there is no claim of what is no launch's id.
    """
    if foreign.file_stem(launch) is None:
        return None
    path = key_file(launch)
    public_key = find_public_key(path)
    if public_key is None:
        return None
    with _our_files():
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
    return Claim(launch, public_key, f"{local.user_name()}@{socket.gethostname()}", descriptor)


def write_login_key(launch: str) -> Path:
    """A new private key for a launch, readable by this user alone. Raises LocalFileError."""
    return _write_secret(key_file(launch), _new_private_key())


def write_next_login_key(launch: str) -> Path:
    """A new private key beside that of a launch, to take its name once the machine knows it. Raises LocalFileError."""
    return _write_secret(key_file(launch).with_suffix(".new.key"), _new_private_key())


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def get_host_key(launch: str) -> HostKey:
    """The host key of a launch's machine; kept, so that the same launch tried again is the same request."""
    path = _host_key_file(launch)
    if find_public_key(path) is None:
        _write_secret(path, new_host_key().private.encode())
    with _our_files():
        return HostKey(path.read_text(), public_key_of(path).decode())


def find_host_key(launch: str) -> str | None:
    """The public host key that this computer gave the machine of a launch; None if it launched no such machine.

    `launch` may come from a tag: of what is no launch's id there is none.
    """
    known = find_public_key(_host_key_file(launch)) if foreign.file_stem(launch) else None
    return known.decode() if known else None


def _host_key_file(launch: str) -> Path:
    return key_file(launch).with_suffix(".host")


def _write_secret(path: Path, text: bytes) -> Path:
    """Whole or not at all, and on the disk when this returns."""
    with _our_files():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    return path


def public_key_of(path: Path) -> bytes:
    """The public half of a private key file, in OpenSSH's format."""
    private = load_ssh_private_key(path.read_bytes(), password=None)
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def find_public_key(path: Path) -> bytes | None:
    """The public half of a private key file; None if there is none, or a computer that crashed left it empty."""
    with _our_files():
        try:
            return public_key_of(path)
        except (FileNotFoundError, ValueError, UnsupportedAlgorithm):
            return None


def mark_used(path: Path) -> None:
    """A login key is in use: it is not to be forgotten. A directory that cannot be written is no reason to stop."""
    with suppress(OSError):  # it is readable, and that is what the login needs
        path.touch()


def forget_login_key(launch: str) -> None:
    """Remove a launch's keys and what ssh knows of its machine; missing is fine.

    `launch` may come from a tag: of what is no launch's id there is nothing to remove. Raises LocalFileError.
    """
    if foreign.file_stem(launch) is None:
        return
    with _our_files():
        for path in local.state_dir().glob(f"{launch}.*"):
            path.unlink(missing_ok=True)


def forget_unused_login_keys() -> None:
    """Remove the keys with which nobody logged in for a month: of launches that came to nothing, or ended elsewhere.

    Whose machine still lives, perhaps in another region, is let in again by Instance Connect.
    """
    used: dict[str, float] = {}  # when, by launch
    with _our_files():
        for path in local.state_dir().glob("*.key*"):
            launch = path.name.partition(".")[0]
            used[launch] = max(used.get(launch, 0.0), path.stat().st_mtime)
    for launch, last in used.items():
        if time.time() - last > UNUSED_SECONDS:
            forget_login_key(launch)


def caller_cidr(endpoint: str) -> str:
    """The address from which the cloud at `endpoint` sees this computer, as a /32.

    It is this computer's own address on the way there, unless that is a private one: then a router
    translates it, and AWS's own service is asked. Raises Unreachable if that does not answer.
    """
    parts = urlsplit(endpoint)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname or "", parts.port or 443))  # of a datagram socket: sends nothing
            own = ipaddress.ip_address(probe.getsockname()[0])
        if own.is_loopback or own.is_global:
            return f"{own}/32"
    except (OSError, ValueError) as error:
        raise _unknown(error) from error
    return ask_address(CHECK_ADDRESS_URL)


def ask_address(url: str) -> str:
    """The address that a service tells, as a /32. No proxy is used: ssh goes past it, and machines see that way's."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with directly.open(url, timeout=10) as answer:
            return f"{ipaddress.IPv4Address(answer.read(100).decode().strip())}/32"
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise _unknown(error) from error


def _unknown(error: Exception) -> Unreachable:
    return Unreachable(
        f"this computer's public address is unknown: {error}",
        hint=f"{CHECK_ADDRESS_URL} must be reachable without a proxy; else xportal up --ssh-from CIDR says it",
    )
