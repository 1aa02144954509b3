"""The sandbox's daemon: `python -m xportal.sandbox.daemon --home DIR --port N --image TAG`.

It takes the home's lock, leaves its parent and serves until SIGTERM; then its machines
are shut down, as the machines of a computer that is switched off.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from xportal.errors import XportalError
from xportal.sandbox.private import check_private, write_private
from xportal.sandbox.secret import Secret

log = logging.getLogger("xportal.sandbox")

LAST_WORDS = "CRITICAL xportal.sandbox: "

SHUTDOWN_S = 60.0


@dataclass(frozen=True)
class Lease:
    """Who serves a home, and where; kept when it ends, so that the next start takes the same port."""

    pid: int
    port: int


@dataclass(frozen=True)
class Place:
    """The daemon's files in the sandbox's home."""

    home: Path

    @property
    def lock(self) -> Path:
        return self.home / "daemon.lock"

    @property
    def log(self) -> Path:
        return self.home / "daemon.log"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def _lease(self) -> Path:
        return self.home / "daemon.json"

    @property
    def secret(self) -> Path:
        return self.home / "secret.json"

    def check(self) -> None:
        """Refused when somebody else owns the home or what is in it, or may write there."""
        check_private(self.home)

    def find_secret(self) -> Secret | None:
        """The access key of the sandbox's user; None before the first start."""
        try:
            return Secret(**json.loads(self.secret.read_text()))
        except FileNotFoundError:
            return None

    def make_secret(self) -> Secret:
        """The access key: that of the first start, so that what was told it stays valid; a new one after a reset."""
        secret = self.find_secret()
        if secret is None:
            secret = Secret.generate()
            write_private(self.secret, json.dumps(asdict(secret)).encode())
        return secret

    def write_lease(self, lease: Lease) -> None:
        write_private(self._lease, json.dumps(asdict(lease)).encode())

    def find_lease(self) -> Lease | None:
        """The last daemon's lease, whether it lives or not."""
        try:
            return Lease(**json.loads(self._lease.read_text()))
        except FileNotFoundError:
            return None

    def try_lock(self) -> int | None:
        """A descriptor that holds the home's lock; None while a daemon lives. The home exists."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_served(self) -> bool:
        """Whether a daemon lives."""
        if not self.lock.exists():
            return False
        descriptor = self.try_lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False


def serve(home: Path, port: int, image: str) -> None:
    """Serve until SIGTERM or SIGINT. XportalError when the hardware or the port is not to be had."""
    from xportal.sandbox.api.server import Cloud
    from xportal.sandbox.hardware.docker import Engine
    from xportal.sandbox.hardware.machines import RealHardware

    place = Place(home)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())  # also while it starts: then it ends right after
    hardware = RealHardware(home, image, Engine.connect())
    cloud = Cloud(hardware, port=port, state_file=place.state, secret=place.make_secret())
    with ExitStack() as undo:
        undo.callback(hardware.close, SHUTDOWN_S)
        undo.callback(cloud.stop)
        cloud.start()
        log.info("serving %s at %s", home, cloud.endpoint_url)
        ended.wait()
        log.info("shutting down")
        # The API answers until the last machine is off: a machine may make its snapshot now.
        for instance_id in hardware.shut_down_all(SHUTDOWN_S):
            cloud.powered_off(instance_id)
    log.info("ended")


def _take_lock(place: Place) -> bool:
    """Take the home's lock for this process and its child. Somebody who only asks has it for a moment."""
    deadline = time.monotonic() + 1.0
    while place.try_lock() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def main() -> None:
    """Run as a daemon: the caller goes on once this process is on its own."""
    parser = argparse.ArgumentParser(prog="xportal.sandbox.daemon")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--image", required=True)
    options = parser.parse_args()
    place = Place(options.home)
    try:
        place.check()
    except XportalError as error:
        raise SystemExit(f"{LAST_WORDS}{error.message}") from error
    if not options.home.is_dir() or not _take_lock(place):
        raise SystemExit(f"another daemon serves {options.home}")
    options.home.chmod(0o700)
    place.make_secret()  # whoever started us reads it as soon as we answer
    pid = os.fork()
    if pid:
        place.write_lease(Lease(pid, options.port))
        os._exit(0)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        serve(options.home, options.port, options.image)
    except XportalError as error:
        log.critical("%s", "; ".join(part for part in (error.message, error.hint) if part), exc_info=True)
        raise SystemExit(error.exit_status) from error
    except Exception as error:
        log.critical("%s: %s", type(error).__name__, error, exc_info=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
