"""The drive protocol against the sandbox's API, with real files as volumes and no machines."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from tests.crash.direct import Wire
from tests.user import SECRET, make_session
from xportal.aws import storage
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, Volume
from xportal.aws.session import PATIENCE_SECONDS, Aws
from xportal.clock import Clock, FastClock
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import MachineLost
from xportal.machine.access import Claim
from xportal.portal.down import down
from xportal.portal.save import save
from xportal.portal.up import find_or_launch
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware
from xportal.sandbox.secret import Secret
from xportal.spec import MachineSpec, PortalSpec

RECORD = 512
FAST = 50  # times as quick as AWS is what these clouds do
_numbers = itertools.count()


class LabClock(FastClock):
    """The clock of a lab's commands. Once it is stopped, who sleeps breaks off."""

    is_stopped = False

    def sleep(self, seconds: float) -> None:
        """Raises RuntimeError when the test is over."""
        if self.is_stopped:
            raise RuntimeError("the test is over")
        super().sleep(seconds)


class LabAws(Aws):
    """An account whose requests go to the cloud without a socket, and on whose clock more time has passed when a test
    says so.
    """

    passed = timedelta(0)

    def __init__(self, cloud: Cloud, clock: Clock, patience: float = PATIENCE_SECONDS, secret: Secret = SECRET) -> None:
        self._wire = Wire(cloud.application())
        super().__init__(make_session(secret=secret), "us-east-1", clock=clock, patience=patience)

    def _client(self, service: str, config: Config) -> Any:
        client = super()._client(service, config)
        client._endpoint.http_session.close()
        client._endpoint.http_session = self._wire
        return client

    def now(self) -> datetime:
        """AWS's time."""
        return super().now() + self.passed


@dataclass
class Quiet:
    """A story that is remembered, not printed."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Remember."""
        self.lines.append(text)

    warn = update = say


@dataclass(frozen=True)
class FileAgent:
    """A FAKE of the agent on a machine: files need neither unmounting nor freezing. `meanwhile` is what happens beside
    its work.
    """

    lab: Lab
    meanwhile: Callable[[], object] = lambda: None

    def save(self, machine: Instance, volume: Volume) -> None:
        """Unmounted, if the machine answers."""
        self.meanwhile()
        if not self.lab.reachable:
            raise MachineLost(f"{machine.id} does not answer")

    @contextmanager
    def frozen(self, machine: Instance, volume: Volume) -> Iterator[None]:
        """Frozen, if the machine answers."""
        self.save(machine, volume)
        yield


@dataclass
class Lab:
    """A cloud with drives that are files: brought up and down through the real protocol, all but ssh."""

    aws: Aws
    hardware: FileHardware
    cloud: Cloud
    story: Quiet = field(default_factory=Quiet)
    reachable: bool = True

    def lifecycle(self, drive: str = "demo", lock: Claim | None = None) -> Lifecycle:
        """The loop for one drive; the agent on the machine is a fake that has always unmounted."""
        return Lifecycle(self.aws, drive, portal=drive, agent=FileAgent(self), progress=self.story, lock=lock)

    def up(self, drive: str = "demo", *, on_demand: bool = False, **spec: object) -> Instance:
        """All that `up` does until ssh."""
        wanted = PortalSpec(drive, MachineSpec(gpu=False, on_demand=on_demand), **spec)  # type: ignore[arg-type]
        machine, _ = find_or_launch(self.aws, wanted, self.story, FileAgent(self))
        return machine

    def down(self, drive: str = "demo") -> Drive:
        """Save and end; what is left of the drive of the portal's name."""
        down(self.aws, drive, self.story, FileAgent(self))
        return observe(self.aws, drive)

    def save(self, drive: str = "demo") -> None:
        """A checkpoint, complete."""
        save(self.aws, drive, self.story, FileAgent(self))

    def write(self, machine: Instance, record: str) -> None:
        """Append an acknowledged record to the bytes of a machine's drive."""
        self.append(machine.disks[DEVICE], record)

    def append(self, volume_id: str, record: str) -> None:
        """Append an acknowledged record to a volume's bytes."""
        count = len(self.bytes_of(volume_id))
        with self.hardware.volume_path(volume_id).open("r+b") as disk:
            disk.seek(count * RECORD)
            disk.write(record.encode().ljust(RECORD, b"\0"))

    def read(self, machine: Instance) -> list[str]:
        """The records on a machine's drive, in order."""
        return self.bytes_of(machine.disks[DEVICE])

    def bytes_of(self, copy_id: str) -> list[str]:
        """The records in a volume or snapshot, in order."""
        of = self.hardware.snapshot_path if copy_id.startswith("snap-") else self.hardware.volume_path
        records = []
        with of(copy_id).open("rb") as disk:
            while block := disk.read(RECORD).rstrip(b"\0"):
                records.append(block.decode())
        return records

    def volumes(self) -> list[Volume]:
        """Every volume of the account that is no root disk."""
        return [v for v in storage.list_volumes(self.aws, []) if v.device in (None, DEVICE)]


@contextmanager
def open_cloud(directory: Path, **told: float) -> Iterator[Cloud]:
    """A cloud whose snapshots take a third of a second, and that knows new instances soon, unless told otherwise."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    usual = {"snapshot_seconds": 0.3, "invisible_seconds": 0.2, "mapping_seconds": 0.2, "profile_seconds": 0.5}
    usual |= {"iam_seconds": 0.0}
    settings = Settings(**{**usual, **told})
    with Cloud(FileHardware(directory), settings=settings, secret=SECRET) as started:
        yield started


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud for the tests of a module."""
    with open_cloud(tmp_path_factory.mktemp("disks")) as started:
        yield started


@pytest.fixture
def lab(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab in that cloud, with a home directory of its own."""
    return make_lab(cloud, tmp_path, monkeypatch)


def make_lab(cloud: Cloud, home: Path, monkeypatch: pytest.MonkeyPatch, patience: float = PATIENCE_SECONDS) -> Lab:
    """A lab in a cloud, its login keys in `home`; its commands wait for so many seconds while nothing changes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
    hardware = cloud.hardware
    assert isinstance(hardware, FileHardware)
    return Lab(LabAws(cloud, LabClock(FAST), patience), hardware, cloud)


@pytest.fixture
def drive() -> str:
    """A drive of this test's own, and its portal, for a watch."""
    return f"watched{next(_numbers)}"


@pytest.fixture
def pool(lab: Lab) -> Iterator[ThreadPoolExecutor]:
    """Where watches run; those that are left at the end break off."""
    with ThreadPoolExecutor() as threads:
        yield threads
        assert isinstance(lab.aws.clock, LabClock)
        lab.aws.clock.is_stopped = True
