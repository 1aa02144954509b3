"""A portal that lives through one trouble after the other; a container in it writes records, life after life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User
from tests.stories.machine_probe import MachineProbe, SandboxEnds, wait_for
from xportal.sandbox.hardware.docker import Engine

# Goes on with the number after the last on the drive. The layer may lack numbers that nobody was told.
WRITER = """n=0; while read last; do n=$last; done < /v1/ledger
while :; do n=$((n+1)); echo $n >> /v1/unflushed
echo $n >> /v1/ledger && sync /v1/ledger && echo $n >> /ledger && sync /ledger || exit 1
echo $n >> /told/acknowledged; sleep 0.05; done"""
PATIENCE = 100.0  # seconds; a command whose machine is gone does not wait for it
TOO_LONG = f"(it did not end within {PATIENCE:.0f} s: killed)"
RECORDS = 3  # in a life, before it is harmed: some that are surely not flushed


class Ledger:
    """What the container writes, and what it has told."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.seen_lost: set[int] = set()
        self._told: Any = None

    def listen(self, machine: MachineProbe) -> None:
        """Hear what the container of this life tells: also what was told when there is no machine any more."""
        self.stop_listening()
        self._told = machine.path("/run/told/acknowledged").open("rb")

    def hear(self) -> None:
        """Take note of it."""
        if self._told:
            self._told.seek(0)
            self.acknowledged.update(map(int, self._told.read().split(b"\n")[:-1]))

    def stop_listening(self) -> None:
        """The life is over."""
        self.hear()
        if self._told:
            self._told.close()
        self._told = None

    def told(self, machine: MachineProbe) -> int:
        """How many records the container has told in this life."""
        try:
            return machine.path("/run/told/acknowledged").read_bytes().count(b"\n")
        except OSError:
            return 0

    def losses(self, machine: MachineProbe) -> list[str]:
        """What was acknowledged and is not there, or not in order."""
        wrong = []
        layer = self._layer(machine)
        for where, path in (("on the drive", machine.path("/v1/ledger")), ("in the layer", layer)):
            records = numbers(path)
            missing = sorted(self.acknowledged - set(records))
            wrong += [f"lost {where}: {missing}"] * bool(missing)
            wrong += [f"not in order {where}"] * (records != sorted(set(records)))
        whole = numbers(machine.path("/v1/ledger"))
        return wrong + ["numbers left out on the drive"] * (whole != list(range(1, len(whole) + 1)))

    def forget_losses(self, machine: MachineProbe) -> None:
        """Go on with what is there."""
        self.acknowledged &= set(numbers(machine.path("/v1/ledger"))) & set(numbers(self._layer(machine)))

    def see_lost(self, machine: MachineProbe) -> int:
        """How many more of the records that nobody flushed are gone: without some, a power cut is none."""
        # A power cut may leave zeros at the file's end, before what was written afterwards.
        there = machine.path("/v1/unflushed").read_bytes().replace(b"\0", b"")
        gone = self.acknowledged - {int(line) for line in there.split(b"\n") if line} - self.seen_lost
        self.seen_lost |= gone
        return len(gone)

    def _layer(self, machine: MachineProbe) -> Path:
        pid = next(pid for pid, words in machine.processes() if words[:2] == ["sh", "-c"] and WRITER in words)
        return Path(f"/proc/{pid}/root/ledger")


def numbers(path: Path) -> list[int]:
    """The whole lines of a file that are numbers; none if it does not exist."""
    if not path.exists():
        return []
    return [int(line) for line in path.read_bytes().split(b"\n")[:-1] if line.isdigit()]


class Portal:
    """A portal that lives on and on."""

    def __init__(self, user: User, ends: SandboxEnds) -> None:
        self.user = user
        self.ends = ends
        self.ledger = Ledger()
        self.typed: list[str] = []
        self.machine: MachineProbe | None = None  # while it is up
        self.ec2 = user.client()

    def begin(self) -> None:
        """The first life: an image, and the container."""
        self.type("up", "demo", "--cpu", "--size", "2")
        self.type("ssh", "demo", "--", MAKE_IMAGE)
        options = "--init --restart unless-stopped -v /v1:/v1 -v /run/told:/told"
        self.type("ssh", "demo", "--", f"touch /v1/ledger; docker run -d --name train {options} tiny sh -c '{WRITER}'")
        self.is_up()

    def type(self, *words: str, check: bool = True) -> int:
        """Type a command; its exit status."""
        done = self.user.types(*words, check=False, timeout=300)
        return self._ended(words, done.returncode, done.stderr, check)

    @contextmanager
    def typing(self, *words: str) -> Iterator[Popen[str]]:
        """A command that is at work meanwhile."""
        with self.user.starts(*words) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            try:
                _, told = process.communicate(timeout=PATIENCE)
            except TimeoutExpired:
                process.kill()
                _, told = process.communicate()
                told += f"\n{TOO_LONG}"
        self._ended(words, process.returncode, told, check=False)

    def _ended(self, words: Sequence[str], status: int, told: str, check: bool) -> int:
        self.typed.append(f"$ xportal {' '.join(words)[:60]}   -> {status}\n    " + "\n    ".join(told.splitlines()))
        assert status == 0 or not check, self.typed[-1]
        return status

    def is_up(self) -> MachineProbe:
        """The one machine, once its container has told some records."""
        [name] = self.ends.records()
        machine = self.ends.machine(name)
        wait_for("the container to write on", lambda: self.ledger.told(machine) >= RECORDS, 30)
        self.ledger.listen(machine)
        self.machine = machine
        return machine

    def is_gone(self) -> None:
        """The machine has no power any more."""
        self.ledger.stop_listening()
        self.machine = None
        wait_for("the machine to be gone", lambda: not self.ends.records(), 90)

    def come_up(self) -> MachineProbe:
        """Up, in whatever state it is: the ordinary next command."""
        self.type("up", "demo", "--cpu")
        return self.is_up()

    def forget_typed(self) -> list[str]:
        """What is typed from now on, as it comes."""
        self.typed = []
        return self.typed

    def start_over(self) -> None:
        """After a failure: whatever is there goes down and up again, and what is lost is not missed twice."""
        for name in self.ends.records():
            self.ends.machine(name).find_network()
        self.type("down", "demo", check=False)
        self.ledger.forget_losses(self.come_up())

    def leaks(self) -> list[str]:
        """What there is beside one machine with its drive."""
        volumes = self.ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]
        machines = self.ends.records()
        words = [f"leaked volume {volume['VolumeId']}" for volume in volumes]
        return words + [f"machines: {sorted(machines)}"] * (len(machines) != 1)

    def finish(self) -> list[str]:
        """Down for good; what is left then."""
        self.type("down", "demo")
        self.is_gone()
        left = [
            *self.ec2.describe_volumes()["Volumes"],
            *self.ec2.describe_key_pairs()["KeyPairs"],
            *self.ends.records(),
        ]
        return [f"left in the end: {one}" for one in left]


def sentence(line: dict[str, Any]) -> str:
    """What a log's line says."""
    return str(line.get("text") or line.get("error") or "done")


def is_done(lines: list[dict[str, Any]]) -> bool:
    """Whether a save ended well."""
    return bool(lines) and bool(lines[-1].get("ok"))


@contextmanager
def begun_portal(user: User) -> Iterator[Portal]:
    """A portal in a user's sandbox, up."""
    told = user.asks("sandbox", "status")
    with Engine.connect() as engine:
        portal = Portal(user, SandboxEnds(user.home / "sandbox", told["endpoint_url"], engine))
        portal.begin()
        yield portal
