"""The sandbox's cloud: EC2, SSM, IAM and STS answered on loopback, over a `Hardware`.

with Cloud(FileHardware(tmp_path)) as cloud:
    ec2 = boto3.client("ec2", "us-east-1", endpoint_url=cloud.endpoint_url,
                       aws_access_key_id=cloud.secret.access_key_id,
                       aws_secret_access_key=cloud.secret.secret_access_key)
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ssm.models import ssm_backends

from xportal.errors import HardwareFailure
from xportal.sandbox.api import fault_control
from xportal.sandbox.api.admin import Admin
from xportal.sandbox.api.authentication import Callers
from xportal.sandbox.api.call_log import CallLog
from xportal.sandbox.api.ec2 import instances, recovery
from xportal.sandbox.api.ec2.backend import Ec2Backend, all_backends
from xportal.sandbox.api.ec2.metadata import metadata_of
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.staleness import Staleness
from xportal.sandbox.api.engine import Engine, Settings
from xportal.sandbox.api.faults import Fault, Faults
from xportal.sandbox.api.http import Listener, listen
from xportal.sandbox.api.iam.responses import IamResponse
from xportal.sandbox.api.ssm import SsmBackend
from xportal.sandbox.api.state.file import StateFile, reset_backends
from xportal.sandbox.api.wsgi import Application
from xportal.sandbox.hardware import Hardware, Metadata, Serving
from xportal.sandbox.secret import Secret

HOST = "127.0.0.1"

_one_at_a_time = threading.Lock()


class Cloud:
    """One cloud; one at a time in a process, since moto keeps its backends in globals.

    `port` 0 takes a free one. With `state_file` the records survive `stop` and `start`:
    written atomically before a changing call is answered, and soon after other changes.
    `settings` may be changed while the cloud runs. `secret` is its user's access key, a new one if none is given.
    """

    def __init__(
        self,
        hardware: Hardware,
        *,
        port: int = 0,
        state_file: Path | None = None,
        settings: Settings | None = None,
        secret: Secret | None = None,
    ) -> None:
        self.hardware = hardware
        self.secret = secret or Secret.generate()
        self.settings = settings or Settings()
        self.faults = Faults()
        self.calls = CallLog()
        self._staleness = Staleness()
        self._port = port
        self._state_file = state_file
        self._running = False
        self._listeners: list[Listener] = []

    @property
    def port(self) -> int:
        """The port asked for, or the one taken once started."""
        return self._port

    @property
    def endpoint_url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://{HOST}:{self._port}"

    def start(self) -> None:
        """Restore the state, reconcile it with the hardware, answer on 127.0.0.1.

        OSError when the port is taken; HardwareFailure when the state or the hardware is unusable.
        """
        if not _one_at_a_time.acquire(blocking=False):
            raise HardwareFailure("a process can have one sandbox cloud at a time")
        with ExitStack() as undo:
            undo.callback(_one_at_a_time.release)
            listener = listen(HOST, self._port)
            with listener:
                self._port = listener.getsockname()[1]
                self._engine = Engine(self.hardware, self.settings, self._changed)
                undo.callback(self._engine.stop)
                self._prepare()
                self._listeners.append(Listener(listener, self.application()))
            undo.pop_all()
        self._running = True

    def _prepare(self) -> None:
        """Records from the state file, and the hardware brought in line with them."""
        self._state = StateFile(self._state_file, self._engine.lock)
        reset_backends()
        ec2_backends.backend, ssm_backends.backend = Ec2Backend, SsmBackend
        Ec2Backend.engine, Ec2Backend.faults = self._engine, self.faults
        IamResponse.settings = self.settings
        self._state.restore()
        self.hardware.connect(self)
        recovery.reconcile(self._engine, all_backends())

    def application(self) -> Application:
        """What answers on `endpoint_url`, once started: for clients in this process that do without a socket."""
        callers = Callers(self._engine, self.faults, self.secret)
        admin = Admin(self._engine, self.faults, self.calls, callers, self._describe)
        return self._application(callers, admin)

    def _application_for_machine(self) -> Application:
        """Here the user's key is as good as none: it has no business in a machine. Roles' keys are checked alone."""
        return self._application(Callers(self._engine, self.faults, secret=None), admin=None)

    def _application(self, callers: Callers, admin: Admin | None) -> Application:
        return Application(self._engine, self.faults, self.calls, self._state.flush, callers, self._staleness, admin)

    def _changed(self) -> None:
        """After each change beside the API's calls: what workers and timers did."""
        with self._engine.lock:
            self._staleness.note(self.settings.stale_seconds)
        self._state.changed()

    def stop(self) -> None:
        """Stop answering, finish the work under way, write the state. Machines go on. Idempotent."""
        if not self._running:
            return
        self._running = False
        while self._listeners:
            self._listeners.pop().close()
        self._engine.stop()
        self._state.stop()
        reset_backends()
        _one_at_a_time.release()

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def changing(self) -> AbstractContextManager[None]:
        """Change records beside the API: under its lock, and saved afterwards."""
        return self._engine.changing()

    def add_fault(self, kind: str, **options: Any) -> Fault:
        """Put a fault in force; `faults.KINDS` has the kinds and their options.

        What is returned goes on counting its hits. ValueError for what is no fault, KeyError for a
        machine that does not run, HardwareFailure when the machine cannot be harmed so.
        """
        with self._engine.lock:
            return fault_control.begin(self.faults, kind, options)

    def clear_faults(self) -> None:
        """End all faults: snapshots that were stuck complete, machines are as before."""
        with self._engine.changing():
            fault_control.end(self.faults)

    def metadata(self, instance_id: str) -> Metadata:
        """What IMDS says to the machine now. KeyError for a machine the API does not know."""
        with self._engine.lock:
            return metadata_of(*_find(instance_id))

    def powered_off(self, instance_id: str) -> None:
        """Say that a machine stopped by itself, its disks flushed and released. Idempotent."""
        with self._engine.changing():
            try:
                backend, instance = _find(instance_id)
            except KeyError:
                return
            instances.powered_off(backend, instance)

    def serve(self, listener: socket) -> Serving:
        """Answer the API on a listening socket inside a machine: to roles alone, and without the admin routes."""
        serving = Listener(listener, self._application_for_machine())
        self._listeners = [other for other in self._listeners if not other.closed] + [serving]
        return serving

    def _describe(self) -> dict[str, Any]:
        return {"endpoint_url": self.endpoint_url, "account_id": DEFAULT_ACCOUNT_ID}


def _find(instance_id: str) -> tuple[Ec2Backend, Instance]:
    for backend in all_backends():
        instance = instances.find_instance(backend, instance_id)
        if instance is not None:
            return backend, instance
    raise KeyError(instance_id)
