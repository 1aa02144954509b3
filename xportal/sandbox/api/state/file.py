"""The state file: all records in one file of JSON (encoding.py), of its owner alone, replaced atomically."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.ssm.models import ssm_backends
from moto.sts.models import sts_backends

from xportal.errors import HardwareFailure
from xportal.sandbox.api.state import encoding, pickled
from xportal.sandbox.api.state.classes import UnknownKindError
from xportal.sandbox.private import check_private, write_private

log = logging.getLogger(__name__)

VERSION = 2
AT_MOST_EVERY = 0.2  # seconds
SAVED: dict[str, BackendDict[Any]] = {"ec2": ec2_backends, "iam": iam_backends, "sts": sts_backends}


def reset_backends() -> None:
    """Forget everything that moto's globals hold. SSM is never saved: it is made anew from the catalogue."""
    for backends in (*SAVED.values(), ssm_backends):
        backends.clear()


class StateFile:
    """Saves moto's backends; without a path it does nothing. `lock` is the API's."""

    def __init__(self, path: Path | None, lock: threading.RLock) -> None:
        self._path = path
        self._lock = lock
        self._dirty = threading.Event()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-state", daemon=True)

    def restore(self) -> None:
        """Put the saved records into moto's backends and begin to save. Refused when others may write to the file."""
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_private(self._path.parent)
            if self._path.exists():
                self._load(self._path)
        self._thread.start()

    def _load(self, path: Path) -> None:
        stored = path.read_bytes()
        try:
            is_old = stored.startswith(pickled.FIRST_BYTE)
            data = _converted(stored) if is_old else stored
            state = encoding.loads(data)
            if state["version"] != VERSION:
                raise HardwareFailure(f"{path} is of another version of the sandbox", hint=_HINT)
            for service, regions in state["backends"].items():
                for region, backend in regions.items():
                    SAVED[service][DEFAULT_ACCOUNT_ID][region] = backend
        except (UnknownKindError, LookupError, TypeError, AttributeError) as error:
            raise HardwareFailure(f"cannot read the sandbox's state in {path}: {error}", hint=_HINT) from error
        if is_old:  # what was written anew was read as a whole: it may take the old one's place
            write_private(path, data)

    def changed(self) -> None:
        """Have the state saved soon, well within a second."""
        self._dirty.set()

    def flush(self) -> None:
        """Save the state now."""
        self._dirty.clear()
        if self._path is None:
            return
        with self._writing:
            with self._lock:
                text = encoding.dumps({"version": VERSION, "backends": _backends()})
            write_private(self._path, text.encode())

    def stop(self) -> None:
        """Save for the last time."""
        self._stopped.set()
        self._dirty.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while self._dirty.wait() and not self._stopped.is_set():
            try:
                self.flush()
            except OSError:
                log.exception("cannot save the sandbox's state")
            self._stopped.wait(AT_MOST_EVERY)


_HINT = "xportal sandbox reset        forgets it, with all its drives"


def _backends() -> dict[str, dict[str, Any]]:
    return {service: dict(backends[DEFAULT_ACCOUNT_ID].items()) for service, backends in SAVED.items()}


def _converted(data: bytes) -> bytes:
    """The state of an earlier version as this one writes it."""
    state = pickled.loads(data)
    return encoding.dumps({**state, "version": VERSION}).encode()
