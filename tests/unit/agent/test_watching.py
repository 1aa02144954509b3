"""What the watcher asks for when AWS announces something, or nobody uses the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.machines.lab import metadata
from tests.unit.agent.conftest import Programs
from tests.unit.agent.metadata_service import serve
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.extensions import load
from xportal.agent.core.files import write_json
from xportal.agent.core.imds import Imds
from xportal.agent.core.process import AgentError
from xportal.agent.core.save_requests import Request
from xportal.agent.core.state import update_state
from xportal.agent.core.watching import Watcher
from xportal.agent.full.extra_watches import SPARED_SECONDS, Hints
from xportal.agent.full.gpu import ALL_GPUS
from xportal.agent.full.settings import NAME, Settings, change_settings, get_settings
from xportal.sandbox.hardware import Metadata, Notice


@dataclass
class Machine:
    """What the watcher sees, and what it asks for."""

    paths: Paths
    imds: Imds
    facts: list[Metadata]
    asked: list[tuple[str, Request]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def watcher(self) -> Watcher:
        """A watcher of this machine."""
        drives = [DriveConfig("demo", 1, mount=str(self.paths.root))]
        self.paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", drives))
        return Watcher(self.paths, self.imds, load(), self.ask, self.told.append)

    def ask(self, paths: Paths, save: str, request: Request) -> None:
        """Remember."""
        self.asked.append((save, request))

    def announce(self, seconds: float) -> None:
        """AWS takes the machine back in so many seconds."""
        when = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        self.facts.append(replace(self.facts[-1], notice=Notice("terminate", when)))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine to which nothing is announced."""
    facts = [metadata(hop_limit=2)]
    with serve(lambda: facts[-1]) as imds:
        yield Machine(Paths(tmp_path), imds, facts)


def test_a_notice_is_a_save_before_its_time(machine: Machine) -> None:
    """With the seconds that AWS's clock leaves, with a snapshot; asked for again and again, told once."""
    watcher = machine.watcher()
    watcher.look()
    assert machine.asked == []
    machine.announce(100)
    for _ in range(3):
        watcher.look()
    assert len({save for save, _ in machine.asked}) == 1
    assert machine.asked[0][0].startswith("notice-20")
    for _, request in machine.asked:
        assert request.at is not None
        assert 97 < request.at - time.monotonic() <= 100
        assert (request.snapshot, request.power_off) == (True, False)
        assert request.notice is not None
        assert request.notice["action"] == "terminate"
    assert len(machine.told) == 1


def test_another_notice_is_another_save(machine: Machine) -> None:
    """The save itself knows whether there is anything left to do."""
    watcher = machine.watcher()
    machine.announce(100)
    watcher.look()
    machine.announce(30)
    watcher.look()
    assert len({save for save, _ in machine.asked}) == 2
    assert len(machine.told) == 2


def test_a_saved_machine_is_let_go(machine: Machine) -> None:
    """Its OS shuts down: nothing more is done."""
    watcher = machine.watcher()
    write_json(machine.paths.saved, {"save": "shutdown"})
    machine.announce(100)
    watcher.look()
    assert (machine.asked, machine.told) == ([], [])


def test_a_save_goes_on_that_was_killed_after_the_unmount(machine: Machine) -> None:
    """With what it was asked for, whatever is announced since: the snapshot and the power off may be missing."""
    watcher = machine.watcher()
    request = Request(snapshot=True, power_off=True)
    write_json(machine.paths.requests / "idle.json", asdict(request))
    write_json(machine.paths.saved, {"save": "idle"})
    watcher.look()
    machine.announce(100)
    watcher.look()
    assert machine.asked == [("idle", request), ("idle", request)]
    assert machine.told == []


def test_a_rehearsal_that_was_killed_goes_on(machine: Machine) -> None:
    """Else the machine would be left without its drive. None is begun on a machine that works."""
    watcher = machine.watcher()
    request = Request(snapshot=True, rehearsal=True)
    write_json(machine.paths.requests / "rehearsal-1.json", asdict(request))
    write_json(machine.paths.requests / "save-1.json", asdict(Request()))
    # A rehearsal of before is nobody's who saves now.
    for phase, save, asked in (
        ("ready", "rehearsal-1", []),
        ("saving", "save-1", []),
        ("saving", "rehearsal-1", [("rehearsal-1", request)]),
        ("failed", "rehearsal-1", [("rehearsal-1", request)]),
    ):
        update_state(machine.paths, phase=phase, save=save)
        watcher.look()
        assert machine.asked == asked


def test_a_rebalance_recommendation_is_told_once(machine: Machine) -> None:
    """It is a hint: nothing is saved."""
    watcher = machine.watcher()
    machine.facts.append(replace(machine.facts[-1], rebalance=datetime(2026, 11, 22, tzinfo=timezone.utc)))
    watcher.look()
    watcher.look()
    assert len(machine.told) == 1
    assert "rebalance" in machine.told[0]
    assert machine.asked == []


def test_rolling_checkpoints_come_at_their_interval(machine: Machine) -> None:
    """Each has an id of its own; none without the setting, none before its time."""
    machine.watcher()  # puts the config
    rolled: list[str] = []

    def hints() -> Hints:
        return Hints(
            machine.paths, machine.imds, machine.ask, machine.told.append, roll=lambda _, id_: rolled.append(id_)
        )

    hints().look()
    assert rolled == []
    config = machine.paths.get_config()
    write_json(config.main.directory / NAME, {"checkpoint_minutes": 0.02})
    rolling = hints()
    rolling.look()
    assert rolled == []
    deadline = time.monotonic() + 10
    while len(rolled) < 2:
        assert time.monotonic() < deadline
        rolling.look()
        time.sleep(0.05)
    assert len(set(rolled)) == 2
    assert all(id_.startswith("rolling-") for id_ in rolled)


def test_containers_that_run_with_gpus_are_looked_after(machine: Machine) -> None:
    """Where the machine has GPUs, and its boot has come to its end."""
    watcher = machine.watcher()
    root, settings = machine.paths.root, machine.paths.get_config().main.docker / "containers/aa/hostconfig.json"
    scope = root / "run/systemd/transient/docker-aa.scope"
    drop_in = root / "run/systemd/system/docker-aa.scope.d/60-xportal-gpu.conf"
    write_json(settings, {"DeviceRequests": [ALL_GPUS]})
    write_json(scope, {})
    for phase, gpus in (("ready", []), ("open", ["NVIDIA A10G"])):
        update_state(machine.paths, phase=phase, gpus=gpus)
        watcher.look()
        assert not drop_in.exists()
    update_state(machine.paths, phase="ready")
    watcher.look()
    assert drop_in.exists()


def test_what_a_newer_xportal_has_set_hinders_nothing(machine: Machine) -> None:
    """The drive may come from there."""
    watcher = machine.watcher()
    write_json(machine.paths.get_config().main.directory / NAME, {"idle_minutes": 7, "later": True})
    assert get_settings(machine.paths) == Settings(idle_minutes=7)
    watcher.look()


def test_whatever_fails_hides_no_notice(machine: Machine) -> None:
    """The process begins anew then, and looks for the notice first."""
    machine.watcher()
    path = machine.paths.get_config().main.directory / NAME
    path.parent.mkdir(exist_ok=True)
    path.write_text("no JSON")
    with pytest.raises(ValueError, match="Expecting value"):
        machine.watcher().look()
    machine.announce(100)
    machine.watcher().look()
    assert len(machine.asked) == 1


def test_nothing_is_set_without_the_drive(machine: Machine) -> None:
    """It would be set on the root disk, where the drive is to be mounted."""
    machine.watcher()
    before = sorted(machine.paths.root.rglob("*"))
    with pytest.raises(AgentError, match="drive demo is not open"):
        change_settings(machine.paths, {"idle_minutes": 30})
    assert not [path for path in machine.paths.root.rglob("*") if path not in before and path.name == NAME]


def test_a_machine_that_aws_does_not_take_ends(machine: Machine, programs: Programs) -> None:
    """It is saved, it will never open the drive again, and it is billed."""
    watcher = machine.watcher()
    write_json(machine.paths.saved, {"save": "notice-1"})
    for seconds in (-SPARED_SECONDS + 30, -SPARED_SECONDS - 1):
        request = Request(at=time.monotonic() + seconds, notice={"action": "terminate"}, snapshot=True)
        write_json(machine.paths.requests / "notice-1.json", asdict(request))
        assert programs.calls() == []
        watcher.look()
    assert programs.calls() == ["systemctl poweroff"]
