"""A cloud, the homes of people who use it, and what must hold in it: nothing lost, nothing left, one writer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from botocore.config import Config

from tests.crash.machines import Disks, Machine, Machines, machines_in
from tests.crash.steps import CutAt
from tests.user import KEYS, SECRET, give_least, make_client, see_now
from xportal.sandbox import admin
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud

DRIVE = "demo"
DEVICE = "/dev/sdf"
OLDEST = "OLDEST"  # typed by its id
LAPTOP, DESK = "laptop", "desk"
ONE_DRIVE = {DEVICE: DRIVE}
FAST = 50  # times as quick as AWS are the clouds, and the commands' clock (tests.crash.program)
STALE_SECONDS = float(os.environ.get("XPORTAL_TEST_STALE_SECONDS", "0"))  # for every world: python -m tests.crash.cuts
SETTINGS = {
    "snapshot_seconds": 0.4,
    "invisible_seconds": 0.02,
    "mapping_seconds": 0.02,
    "iam_seconds": 0.0,
    "profile_seconds": 0.05,
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: `status` is None when it was killed; `problems` are deletions too early."""

    argv: tuple[str, ...]
    status: int | None
    said: str
    steps: list[str]
    problems: list[str]

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} -> {self.status}\n{self.said}"


@dataclass
class Program:
    """The process that runs commands (tests.crash.program) for a cloud that will listen on `port`."""

    socket: Path
    port: int

    def run(self, argv: tuple[str, ...], *, home: Path, disks: Path, cut_at: CutAt | None = None) -> Ended:
        """Run one command to its end, whatever that is."""
        order: dict[str, Any] = {"argv": argv, "home": str(home), "disks": str(disks)}
        if cut_at:
            place = cut_at.place
            order["cut"] = {"operation": place.operation, "nth": place.nth, "cut": cut_at.cut.value}
        told: list[dict[str, Any]] = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(f"{json.dumps(order)}\n".encode())
            with connection.makefile("r") as lines:
                told = [json.loads(line) for line in lines]
        end: dict[str, Any] = told[-1] if told and "status" in told[-1] else {"status": None, "said": ""}
        steps = [event["step"] for event in told if "step" in event]
        problems = [event["problem"] for event in told if "problem" in event]
        return Ended(argv, end["status"], end["said"], steps, problems)


@contextmanager
def started_program(directory: Path) -> Iterator[Program]:
    """The program's process, ended at the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    program = Program(directory / "program", port)
    argv = [sys.executable, "-m", "tests.crash.program", str(program.socket), f"http://127.0.0.1:{port}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # it listens
        try:
            yield program
        finally:
            process.terminate()


@dataclass
class World:
    """One account with one drive's life in it. Every check returns what is wrong, one line each."""

    directory: Path
    program: Program
    cloud: Cloud
    ec2: Any
    drives: Mapping[str, str]  # by device
    typed: list[Ended] = field(default_factory=list)

    @property
    def disks(self) -> Disks:
        """What is on them."""
        return Disks(self.cloud_directory)

    @property
    def cloud_directory(self) -> Path:
        """The cloud's side of the world."""
        return self.directory / "cloud"

    def type(self, *argv: str, home: str = LAPTOP, cut_at: CutAt | None = None) -> Ended:
        """Type a command on the computer with this home."""
        path = self.directory / home
        path.mkdir(exist_ok=True)
        argv = tuple(self.snapshots()[0]["SnapshotId"] if word == OLDEST else word for word in argv)
        ended = self.program.run(argv, home=path, disks=self.cloud_directory, cut_at=cut_at)
        self.typed.append(ended)
        return ended

    def type_well(self, *argv: str, home: str = LAPTOP) -> Ended:
        """Type a command that must succeed."""
        ended = self.type(*argv, home=home)
        assert ended.status == 0, str(ended)
        return ended

    def machines(self) -> list[Machine]:
        """Those that have power."""
        return machines_in(self.cloud_directory)

    def work(self, what: str) -> None:
        """The containers of every machine write a record."""
        for machine in self.machines():
            machine.work(self.disks, what)

    def interrupt(self) -> None:
        """AWS takes every machine back, without notice."""
        for machine in self.instances():
            self._admin("interrupt", instance_id=machine["InstanceId"], notice_seconds=0, notice=False)
        while self.instances():
            time.sleep(0.005)

    def lose_agents(self) -> None:
        """No machine answers any more; they run on."""
        for machine in self.machines():
            (machine.directory / "deaf").touch()

    def ten_minutes_pass(self) -> None:
        """FAKE: time travel for locks, whose heartbeats become eleven minutes old."""
        old = (datetime.now(timezone.utc) - timedelta(minutes=11)).isoformat()
        for lock in self.locks():
            self.ec2.create_tags(Resources=[lock["KeyPairId"]], Tags=[{"Key": "xportal:heartbeat", "Value": old}])

    def locks(self) -> list[Any]:
        """Every key pair."""
        return list(self.ec2.describe_key_pairs()["KeyPairs"])

    def knows_nothing(self) -> bool:
        """Whether the cloud has never had anything of the drive, or has nothing any more."""
        found = [i for r in self.ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        return not (found or self.locks() or self.snapshots() or self.ec2.describe_volumes()["Volumes"])

    def has_copies(self) -> bool:
        """Whether anything holds data."""
        return bool(self.snapshots() or list((self.cloud_directory / "volumes").iterdir()))

    def instances(self) -> list[Any]:
        """Every instance that is not terminated."""
        found = [i for r in self.ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        return [i for i in found if i["State"]["Name"] != "terminated"]

    def snapshots(self, drive: str = DRIVE) -> list[Any]:
        """A drive's, oldest first."""
        found = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return sorted((s for s in found if _tags(s).get("Name") == drive), key=lambda s: s["StartTime"])

    def key_files(self) -> set[str]:
        """The launches of which any computer keeps a file."""
        return {path.name.partition(".")[0] for path in self.directory.glob("*/state/xportal/*") if path.is_file()}

    def month_passes(self) -> None:
        """FAKE: time travel for login keys."""
        for path in self.directory.glob("*/state/xportal/*.key"):
            os.utime(path, (0, 0))

    def finals(self, drive: str = DRIVE) -> list[Any]:
        """The snapshots that are final saves, oldest first."""
        return [s for s in self.snapshots(drive) if _tags(s).get("xportal:kind") == "final"]

    def note_discard(self) -> None:
        """If the volume of a life that was not saved is gone, so are its records."""
        if not list((self.cloud_directory / "volumes").iterdir()):
            finals = self.finals()
            self.disks.set_ledger(DEVICE, self._records(finals[-1] if finals else None))

    def note_delete(self) -> None:
        """If nothing of the drive is left, its records are not missed. As long as anything is, the newest one is."""
        if not self.has_copies():
            self.disks.set_ledger(DEVICE, [])

    def note_restore(self) -> None:
        """If the oldest snapshot was chosen, its records are those that count."""
        for snapshot in self.snapshots():
            if "xportal:restored" in _tags(snapshot):
                self.disks.set_ledger(DEVICE, self._records(snapshot))

    def _records(self, snapshot: Any) -> list[str]:
        return self.disks.snapshot(snapshot["SnapshotId"]) if snapshot else []

    def claims(self) -> set[str]:
        """The ids of the locks whose holder has no machine."""
        launches = {_tags(machine).get("xportal:launch") for machine in self.instances()}
        return {lock["KeyPairId"] for lock in self.locks() if _tags(lock)["xportal:launch"] not in launches}

    def wrong_at_any_time(self) -> list[str]:
        """After whatever happened: every acknowledged record is on some copy, at most one machine can write."""
        wrong = [problem for ended in self.typed for problem in ended.problems]
        volumes = [self.disks.volume(path.name) for path in (self.cloud_directory / "volumes").iterdir()]
        for device, drive in self.drives.items():
            copies = [*volumes, *map(self._records, self.snapshots(drive))]
            ledger = self.disks.ledger(device)
            if ledger and ledger not in copies:
                wrong.append(f"lost: no copy of {drive} has {ledger}; there are {copies}")
        writers = [machine.instance_id for machine in self.machines() if machine.phase == "ready"]
        if len(writers) > 1:
            wrong.append(f"two writers: {writers}")
        return wrong

    def wrong_when_up(self) -> list[str]:
        """After an `up`: one machine with every record, one lock a drive, and what belongs to them."""
        wrong = self.wrong_at_any_time()
        running = [i for i in self.instances() if i["State"]["Name"] == "running"]
        if len(running) != 1 or len(self.instances()) != 1:
            return [*wrong, f"leaked: {len(self.instances())} machines, {len(running)} running"]
        machine = running[0]
        disks = {d["DeviceName"]: d["Ebs"]["VolumeId"] for d in machine["BlockDeviceMappings"]}
        for device in self.drives:
            wrong += _unequal("lost", self.disks.volume(disks[device]), self.disks.ledger(device))
        volumes = {v["VolumeId"] for v in self.ec2.describe_volumes()["Volumes"]}
        wrong += _unequal("leaked volumes", volumes, set(disks.values()))
        launches = [_tags(lock)["xportal:launch"] for lock in self.locks()]
        wrong += _unequal("locks", launches, [_tags(machine)["xportal:launch"]] * len(self.drives))
        return wrong + _unequal("groups", len(self._groups()), 1)

    def wrong_when_saved(self) -> list[str]:
        """After a `save`: the work goes on, and there is a checkpoint with every record."""
        checkpoints = [s for s in self.snapshots() if _tags(s).get("xportal:kind") == "checkpoint"]
        there = self._records(checkpoints[-1] if checkpoints else None)
        return [*self.wrong_when_up(), *_unequal("lost", there, self.disks.ledger(DEVICE))]

    def wrong_when_swept(self) -> list[str]:
        """After a `sweep`: whatever is not at work is saved and gone."""
        return self.wrong_at_any_time() if self.machines() else self.wrong_when_down()

    def wrong_when_down(self) -> list[str]:
        """After a `down`: one final save a life and drive, the newest copy with every record, and nothing else."""
        wrong = self.wrong_at_any_time()
        wrong += _unequal("leaked machines", [i["InstanceId"] for i in self.instances()], [])
        wrong += _unequal("leaked volumes", [v["VolumeId"] for v in self.ec2.describe_volumes()["Volumes"]], [])
        wrong += _unequal("leaked locks", [lock["KeyName"] for lock in self.locks()], [])
        wrong += _unequal("leaked groups", [g["GroupId"] for g in self._groups()], [])
        saves = sum(ended.argv[0] == "save" for ended in self.typed)
        for device, drive in self.drives.items():
            snapshots, finals = self.snapshots(drive), self.finals(drive)
            wrong += _unequal("states", {s["State"] for s in snapshots} - {"completed"}, set())
            wrong += _unequal("leaked final saves", len({*map(_generation, finals)}), len(finals))
            wrong += ["leaked checkpoints"] * (sum("xportal:save" in _tags(s) for s in snapshots) > saves)
            # StartTimes are told to the second: a final save comes after the checkpoints
            newest = max(snapshots, key=lambda s: (_generation(s), s["StartTime"], s in finals), default=None)
            wrong += _unequal("lost", self._records(newest), self.disks.ledger(device))
        return wrong

    def _admin(self, route: str, **body: object) -> None:
        admin.call(self.cloud.endpoint_url, SECRET, "POST", route, body)

    def _groups(self) -> list[Any]:
        found = self.ec2.describe_security_groups()["SecurityGroups"]
        return [group for group in found if group["GroupName"] != "default"]


@contextmanager
def new_world(
    directory: Path,
    program: Program,
    *,
    like: Path | None = None,
    drives: Mapping[str, str] = ONE_DRIVE,
    stale_seconds: float = STALE_SECONDS,
) -> Iterator[World]:
    """An empty account and no homes, or a copy of the world that ended in the directory `like`.

    `stale_seconds` are AWS's, of which the world's commands, too, have FAST in one.
    """
    if like:
        subprocess.run(["cp", "-a", like, directory], check=True)
    else:
        directory.mkdir(parents=True)
    hardware = Machines(directory / "cloud")
    settings = Settings(**SETTINGS, stale_seconds=stale_seconds / FAST)
    with Cloud(hardware, port=program.port, state_file=directory / "state", settings=settings, secret=SECRET) as cloud:
        give_least(cloud)
        yield World(directory, program, cloud, _client(cloud.endpoint_url), drives)


_clients: dict[str, Any] = {}


def _client(endpoint_url: str) -> Any:
    """A client that is kept: one takes a tenth of a second to make. The test's own look gets through any trouble."""
    if endpoint_url not in _clients:
        client = make_client(
            "ec2",
            region_name="us-east-1",
            endpoint_url=endpoint_url,
            **KEYS,
            config=Config(retries={"mode": "standard", "total_max_attempts": 20}),
        )
        _clients[endpoint_url] = see_now(client)
    return _clients[endpoint_url]


def _tags(record: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}


def _generation(snapshot: Any) -> int:
    return int(_tags(snapshot)["xportal:generation"])


def _unequal(what: str, there: object, expected: object) -> list[str]:
    return [] if there == expected else [f"{what}: {there}, not {expected}"]
