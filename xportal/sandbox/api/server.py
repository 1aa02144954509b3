"""The sandbox's cloud: EC2, SSM, IAM and STS answered on loopback, over a `Hardware`.

    with Cloud(FileHardware(tmp_path)) as cloud:
        ec2 = boto3.client("ec2", endpoint_url=cloud.endpoint_url, region_name="us-east-1", ...)
"""

from __future__ import annotations

from pathlib import Path
from socket import socket
from types import TracebackType

from xportal.sandbox.hardware import Hardware, Metadata, Serving


class Cloud:
    """One cloud; one at a time in a process, since moto keeps its backends in globals.

    `port` 0 takes a free one. With `state_file` the records survive `stop` and `start`:
    written atomically at most a second after each change.
    """

    def __init__(
        self,
        hardware: Hardware,
        *,
        port: int = 0,
        state_file: Path | None = None,
        snapshot_seconds: float = 1.5,
    ) -> None:
        self.hardware = hardware

    @property
    def port(self) -> int:
        """The port asked for, or the one taken once started."""
        raise NotImplementedError

    @property
    def endpoint_url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Restore the state, reconcile it with the hardware, listen on 127.0.0.1, return when answering."""
        raise NotImplementedError

    def stop(self) -> None:
        """Finish the work under way, write the state, stop listening. Machines go on. Idempotent."""
        raise NotImplementedError

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def metadata(self, instance_id: str) -> Metadata:
        """What IMDS says to the machine now. KeyError for a machine the API does not know."""
        raise NotImplementedError

    def powered_off(self, instance_id: str) -> None:
        """Say that a machine stopped by itself, its disks flushed and released. Idempotent."""
        raise NotImplementedError

    def serve(self, listener: socket) -> Serving:
        """Answer the EC2 API, without the admin routes, on a listening socket (one inside a machine)."""
        raise NotImplementedError
