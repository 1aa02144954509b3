"""One machine with power: what is plugged into it, what answers in it, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Api, Disk, Serving, device_nodes
from xportal.sandbox.hardware.imds import ADDRESS, Imds, ImdsServer
from xportal.sandbox.hardware.netns import get_interface, open_listener

OUTSIDE = "eth0"  # what Docker calls the interface of a container's network


@dataclass
class PoweredMachine:
    """A running container and what hangs on it. `record` lets a later daemon find the drives again."""

    instance_id: str
    container_id: str
    pid: int
    record: Path
    drives: dict[str, Disk] = field(default_factory=dict)  # by volume id
    stopping: bool = False  # we ended it: nobody has to be told
    released: threading.Event = field(default_factory=threading.Event)
    failure: HardwareFailure | None = None
    _servings: list[Serving] = field(default_factory=list)

    @property
    def dev(self) -> Path:
        """The machine's own /dev, seen from here."""
        return self.inside("/dev")

    def inside(self, path: str) -> Path:
        """A path of the machine, seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def open_services(self, api: Api) -> None:
        """Answer IMDS and the API inside the machine."""
        imds = Imds(lambda: api.metadata(self.instance_id))
        outside = get_interface(self.pid, OUTSIDE)
        self._servings.append(ImdsServer(imds, open_listener(self.pid, ADDRESS, 80), outside))
        with open_listener(self.pid, "127.0.0.1", api.port) as listener:  # the API keeps a copy
            self._servings.append(api.serve(listener))

    def close_services(self) -> None:
        """Stop answering in the machine. Idempotent."""
        while self._servings:
            self._servings.pop().close()

    def plug(self, disk: Disk, loop: Path) -> None:
        """Show the machine a drive."""
        device_nodes.plug(self.dev, disk, loop)
        self.drives[disk.volume_id] = disk
        self._write_record()

    def plug_instance_store(self, number: int, loop: Path) -> None:
        """Show the machine a disk of its own. Its serial number is AWS and 17 digits, as on EC2."""
        serial = "AWS" + sha256(f"{self.instance_id}/{number}".encode()).hexdigest()[:17].upper()
        device_nodes.plug_instance_store(self.dev, serial, loop)

    def unplug(self, disk: Disk) -> None:
        """Take a drive away from the machine's sight."""
        device_nodes.unplug(self.dev, disk)
        self.drives.pop(disk.volume_id, None)
        self._write_record()

    def switch_on(self) -> None:
        """Let the entry point go on to systemd."""
        self._write_record()
        try:
            (self.dev / ".power").touch()
        except OSError as error:
            raise HardwareFailure(f"machine {self.instance_id} lost power at once: {error}") from error

    def wait_for_end(self) -> None:
        """Return when the machine's init, and with it every process of the machine, is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
        finally:
            os.close(descriptor)

    def _write_record(self) -> None:
        new = self.record.with_suffix(".new")
        new.write_text(json.dumps([asdict(disk) for disk in self.drives.values()]))
        new.rename(self.record)


def read_record(record: Path) -> dict[str, Disk] | None:
    """The drives of a machine as its last daemon wrote them; None for one that never had power."""
    with contextlib.suppress(FileNotFoundError):
        return {entry["volume_id"]: Disk(**entry) for entry in json.loads(record.read_text())}
    return None
