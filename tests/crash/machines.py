"""FAKE machines over files: what is written on a drive, and an agent that answers as the real one, without ssh.

A machine is a directory named after its public address. The cloud switches it on and off; commands, in processes of
their own, talk to its agent through `log_in`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.steps import Steps
from xportal.errors import MachineLost
from xportal.portal.agent import AGENT
from xportal.remote import Completed, Login
from xportal.sandbox.hardware import Addresses, Boot
from xportal.sandbox.hardware.files import FileHardware

RECORD_BYTES = 512


def records_on(path: Path) -> list[str]:
    """The records on a disk, in the order in which they were written."""
    records = []
    with path.open("rb") as disk:
        while block := disk.read(RECORD_BYTES).rstrip(b"\0"):
            records.append(block.decode())
    return records


@dataclass(frozen=True)
class Disks:
    """The directory of a cloud's disks, as everybody finds it; and what was acknowledged, in a file a device."""

    directory: Path

    def volume(self, volume_id: str) -> list[str]:
        """The records on a volume."""
        return records_on(self.directory / "volumes" / volume_id)

    def snapshot(self, snapshot_id: str) -> list[str]:
        """The records in a snapshot."""
        return records_on(self.directory / "snapshots" / snapshot_id)

    def ledger(self, device: str) -> list[str]:
        """Every record that was acknowledged on the drive at a device, in order."""
        path = self._ledger(device)
        return path.read_text().splitlines() if path.exists() else []

    def write(self, device: str, volume_id: str, record: str) -> None:
        """Append a record to a volume; acknowledged when this returns."""
        path = self.directory / "volumes" / volume_id
        position = RECORD_BYTES * len(records_on(path))
        with path.open("r+b") as disk:
            disk.seek(position)
            disk.write(record.encode().ljust(RECORD_BYTES, b"\0"))
        with self._ledger(device).open("a") as ledger:
            ledger.write(f"{record}\n")

    def set_ledger(self, device: str, records: list[str]) -> None:
        """Somebody chose to go on from less."""
        self._ledger(device).write_text("".join(f"{record}\n" for record in records))

    def _ledger(self, device: str) -> Path:
        return self.directory / f"ledger{device.replace('/', '-')}"


@dataclass
class Machine:
    """A machine that has power, in its directory."""

    directory: Path

    @property
    def instance_id(self) -> str:
        """Whose address it is."""
        return str(self._boot()["instance_id"])

    @property
    def drives(self) -> dict[str, str]:
        """The volume at each device."""
        return dict(self._boot()["drives"])

    @property
    def phase(self) -> str:
        """The agent's: ready, until its drives are unmounted for good."""
        return "saved" if (self.directory / "saved").exists() else "ready"

    def _boot(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.directory / "boot").read_text())
        return told

    def work(self, disks: Disks, what: str) -> None:
        """A container writes a record to each drive, as long as they are mounted."""
        if self.phase == "ready":
            for device, volume_id in self.drives.items():
                disks.write(device, volume_id, what)

    def save(self, disks: Disks) -> None:
        """Stop the containers, which have a last word, and unmount for good."""
        self.work(disks, f"last word on {self.instance_id}")
        (self.directory / "saved").touch()


@dataclass
class Machines(FileHardware):
    """Disks that are files, and machines whose containers write a last word when the OS is shut down."""

    def __post_init__(self) -> None:
        """Go on with the machines that are there already."""
        super().__post_init__()
        self._booted = sum(1 for _ in self.directory.glob("machines/*"))

    def running(self) -> frozenset[str]:
        """The ids of the machines that have power."""
        return frozenset(machine.instance_id for machine in machines_in(self.directory))

    def boot(self, boot: Boot) -> Addresses:
        """Give the machine its directory."""
        addresses = super().boot(boot)
        machine = self.directory / "machines" / addresses.public_ip
        machine.mkdir(parents=True)
        drives = {disk.device: disk.volume_id for disk in boot.disks}
        (machine / "boot").write_text(json.dumps({"instance_id": boot.instance_id, "drives": drives}))
        (machine / "on").touch()
        return addresses

    def shut_down(self, instance_id: str, deadline_s: float) -> None:
        """Its containers are stopped, its drives flushed."""
        for machine in machines_in(self.directory):
            if machine.instance_id == instance_id:
                machine.work(Disks(self.directory), f"last word before the shutdown of {instance_id}")
        self._off(instance_id)
        super().shut_down(instance_id, deadline_s)

    def cut_power(self, instance_id: str) -> None:
        """Whatever is acknowledged was flushed."""
        self._off(instance_id)
        super().cut_power(instance_id)

    def _off(self, instance_id: str) -> None:
        for machine in machines_in(self.directory):
            if machine.instance_id == instance_id:
                (machine.directory / "on").unlink()


def machines_in(directory: Path) -> list[Machine]:
    """The machines that have power."""
    return [Machine(path.parent) for path in directory.glob("machines/*/on")]


@dataclass
class AgentHost:
    """FAKE of a Host: the agent's words alone, each a step of the command."""

    directory: Path
    machine: Machine
    steps: Steps
    saves: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        """The agent's `status` and `save`, and what installs a login key."""
        words = [word for word in argv if word != "sudo"]
        words = words[1:] if words[0] == AGENT else words
        return Completed(self.steps.agent(words[:1], lambda: self._do(words)), "", 0)

    def lines(self, argv: Sequence[str], **_: Any) -> Iterator[str]:
        """`follow`: the log of work that is done already, or of a freeze."""
        frozen = {"t": 0.0, "step": "frozen", "text": "frozen"}
        if argv[2].startswith("freeze-"):
            yield self.steps.agent(argv[1:2], lambda: json.dumps(frozen))
        end = {"t": 0.0, "end": True, "ok": True, "error": None, "result": {"seconds": {}, "in_time": True}}
        yield self.steps.agent(argv[1:2], lambda: json.dumps(end))

    def close(self) -> None:
        """Nothing is open."""

    def _do(self, words: Sequence[str]) -> str:
        if not (self.machine.directory / "on").exists():
            raise MachineLost(f"{self.machine.directory.name} does not answer")
        match words[0]:
            case (
                "sh" | "systemctl" | "tee" | "freeze" | "thaw" | "remember" | "keep-spec"
            ):  # the full agent, a login key; files keep still
                return ""
            case "status":
                told: dict[str, Any] = {"phase": self.machine.phase, "gpu": None, "drives": [], "containers": []}
                return json.dumps(told)
            case "try-role":
                return json.dumps({"error": None})
            case "save":
                self.machine.save(Disks(self.directory))
                return ""
        raise AssertionError(f"the fake agent does not know {words}")


def log_in(directory: Path, login: Login, steps: Steps) -> AgentHost:
    """The machine at an address. Raises MachineLost if it has no power or is deaf."""
    machine = directory / "machines" / login.address
    if not (machine / "on").exists() or (machine / "deaf").exists():
        raise MachineLost(f"{login.address} does not answer")
    return AgentHost(directory, Machine(machine), steps)
