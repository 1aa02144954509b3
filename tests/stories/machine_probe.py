"""A sandbox machine as this computer's kernel shows it: its processes, files and logs. And three ways to harm it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xportal.sandbox import admin
from xportal.sandbox.daemon import Place
from xportal.sandbox.hardware import machine_faults
from xportal.sandbox.hardware.docker import Engine
from xportal.sandbox.secret import Secret

PAUSE = 0.002  # between two looks: files in /proc tell nobody that they have changed
SAVED = "/var/lib/xportal/saved.json"


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    """The condition's first true value. AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(PAUSE)
    return value


@dataclass
class MachineProbe:
    """One machine with power. `pid` is its init's on this computer."""

    instance_id: str
    container_id: str
    pid: int
    cloud: SandboxEnds

    def path(self, inside: str) -> Path:
        """A path of the machine, seen from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def log(self, name: str) -> list[dict[str, Any]]:
        """The whole lines of an agent's log; none if there is no such log, or no machine any more."""
        try:
            text = self.path(f"/run/xportal/log/{name}.jsonl").read_bytes()
        except OSError:
            return []
        return [json.loads(line) for line in text.split(b"\n")[:-1]]

    def logs(self) -> set[str]:
        """The names of its agent's logs."""
        try:
            return {path.stem for path in self.path("/run/xportal/log").glob("*.jsonl")}
        except OSError:
            return set()

    @property
    def has_power(self) -> bool:
        """Whether its init is still there, and more than a zombie."""
        try:
            return "State:\tZ" not in Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False

    def processes(self) -> Iterator[tuple[int, list[str]]]:
        """Pids, on this computer, and command lines of all that runs in the machine, its containers included."""
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                try:
                    group = Path(entry.path, "cgroup").read_text()
                    words = Path(entry.path, "cmdline").read_text(errors="replace").split("\0")
                except OSError:  # ended meanwhile
                    continue
                if self.container_id in group:
                    yield int(entry.name), words

    def agents(self) -> list[int]:
        """The agent's processes: its work, the watcher, followers."""
        return [pid for pid, words in self.processes() if any(w.startswith("/opt/xportal/") for w in words[:3])]

    def is_busy(self) -> bool:
        """Whether the agent does anything but watch."""
        return any(
            any(word.startswith("/opt/xportal/") for word in words[:3]) and not {"watch", "follow"} & set(words)
            for _, words in self.processes()
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """All its processes stand still meanwhile, where they are."""
        file, _, thawed = self._freezer
        try:
            wait_for("stillness", self._freeze, 10)
            yield
        finally:
            file.write_text(thawed)

    @cached_property
    def _freezer(self) -> tuple[Path, str, str]:
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            group = path[: path.index(self.container_id) + len(self.container_id)] if self.container_id in path else ""
            group += ".scope" * path.startswith(f"{group}.scope")
            if group and controllers == "freezer":
                return Path(f"/sys/fs/cgroup/freezer{group}/freezer.state"), "FROZEN", "THAWED"
            if group and not controllers and Path(f"/sys/fs/cgroup{group}/cgroup.freeze").exists():
                return Path(f"/sys/fs/cgroup{group}/cgroup.freeze"), "1", "0"
        raise AssertionError("the machine has no control group that can be frozen")

    def _freeze(self) -> bool:
        """One try: the kernel may have to be asked again, and is let go on before, where a process is in its way."""
        file, frozen, thawed = self._freezer
        file.write_text(thawed)
        file.write_text(frozen)
        deadline = time.monotonic() + 0.2
        while not (still := self._is_frozen()) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return still

    def _is_frozen(self) -> bool:
        file, frozen, _ = self._freezer
        if frozen == "FROZEN":
            return file.read_text().strip() == "FROZEN"
        return "frozen 1" in file.with_name("cgroup.events").read_text()

    # harm, exactly where it stands while it is held

    def kill_agents(self) -> None:
        """SIGKILL for all that is the agent's. What systemd starts again, it starts again."""
        self._signal(signal.SIGKILL)

    def stop_agents(self) -> None:
        """The agent does not come one step further."""
        self._signal(signal.SIGSTOP)

    def lose_network(self) -> None:
        """No packet comes or goes: ssh is reset, AWS's API silent. IMDS is no network: it stays."""
        machine_faults.drop_ssh(self.pid)
        self._iptables("-I")

    def find_network(self) -> None:
        """Let packets through again. Idempotent."""
        machine_faults.allow_ssh(self.pid)
        if self._iptables("-C", check=False):
            self._iptables("-D")

    def cut_power(self) -> None:
        """No notice, nothing flushed. Returns when all of it has gone."""
        self.cloud.cut_power(self.instance_id)
        wait_for("the power to go", lambda: not self.has_power and self.instance_id not in self.cloud.records(), 60)

    def _signal(self, number: int) -> None:
        for pid in self.agents():
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, number)

    def _iptables(self, what: str, *, check: bool = True) -> bool:
        rule = ["OUTPUT", "-p", "tcp", "--dport", str(self.cloud.port), "-j", "DROP"]
        argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "iptables", "-w", what, *rule]
        return subprocess.run(argv, check=check, capture_output=True).returncode == 0


@dataclass
class SandboxEnds:
    """The sandbox's own ends: its home, its API's endpoint, Docker."""

    home: Path
    endpoint_url: str
    engine: Engine

    @property
    def port(self) -> int:
        """Where its API listens, in its machines too."""
        return int(self.endpoint_url.rpartition(":")[2])

    @property
    def secret(self) -> Secret:
        """The access key of its user."""
        secret = Place(self.home).find_secret()
        assert secret
        return secret

    def records(self) -> set[str]:
        """The machines that have power, or are about to get it."""
        return {path.stem for path in (self.home / "machines").glob("*.json")}

    def wait_for_machine(self, is_over: Callable[[], bool]) -> MachineProbe:
        """The only machine, from its first moment on. AssertionError if it is over before there is one."""
        wait_for("a machine", lambda: self.records() or is_over(), 120)
        [name] = self.records()
        return self.machine(name)

    def machine(self, instance_id: str) -> MachineProbe:
        """A machine that has power."""
        [found] = [one for one in self.engine.machines(str(self.home)) if one.instance_id == instance_id]
        return MachineProbe(instance_id, found.container_id, self.engine.get_process(found.container_id)[0], self)

    def interrupt(self, instance_id: str, *, notice_seconds: float) -> None:
        """AWS announces that it takes the machine back."""
        self._interrupt(instance_id, True, notice_seconds)

    def cut_power(self, instance_id: str) -> None:
        """AWS takes the machine back without a word. Asked again while the API still calls it pending."""
        wait_for("the machine to run", lambda: self.state(instance_id) != "pending", 30)
        self._interrupt(instance_id, False, 0.0)

    def _interrupt(self, instance_id: str, notice: bool, seconds: float) -> None:
        body = {"instance_id": instance_id, "notice": notice, "notice_seconds": seconds}
        admin.call(self.endpoint_url, self.secret, "POST", "interrupt", body)

    def state(self, instance_id: str) -> str:
        """As the API tells it."""
        told = admin.call(self.endpoint_url, self.secret, "GET", "status")["instances"]
        return next((str(one["state"]) for one in told if one["id"] == instance_id), "terminated")
