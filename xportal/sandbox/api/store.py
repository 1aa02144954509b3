"""The state file: all records in one pickle, replaced atomically."""

from __future__ import annotations

import logging
import os
import pickle
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

log = logging.getLogger(__name__)

VERSION = 1
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
        """Put the saved records into moto's backends and begin to save."""
        if self._path and self._path.exists():
            self._load(self._path)
        self._thread.start()

    def _load(self, path: Path) -> None:
        try:
            state = pickle.loads(path.read_bytes())
        except Exception as error:  # a pickle can fail in any way
            raise HardwareFailure(f"cannot read the sandbox's state in {path}: {error!r}", hint=_HINT) from error
        if state["version"] != VERSION:
            raise HardwareFailure(f"{path} is of another version of the sandbox", hint=_HINT)
        for service, regions in state["backends"].items():
            for region, backend in regions.items():
                SAVED[service][DEFAULT_ACCOUNT_ID][region] = backend

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
                data = pickle.dumps({"version": VERSION, "backends": _backends()})
            _replace(self._path, data)

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


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
