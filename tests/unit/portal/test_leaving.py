"""A machine that saves says why, and who sees something end on it is told that, not a success."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.files import write_json
from xportal.agent.full.settings import show_settings
from xportal.agent.full.status import read_status
from xportal.aws.records import Instance
from xportal.cli.options import Context
from xportal.cli.portals import _show_machine
from xportal.errors import DockerFailed, GoingDown, MachineGone, MachineLost, NoSuchContainer, Refused, XportalError
from xportal.portal import staying
from xportal.portal.agent import AgentStatus, agent_status
from xportal.portal.reporting import agent_report
from xportal.portal.up.ready import check_ready
from xportal.spec import UnattendedSpec

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
MACHINE = Instance("i-1", "running", "c5.large", "us-east-1a", NOW, "ami-1", tags={"xportal:portal": "demo"})
NOTICE = {"action": "terminate", "time": "2026-01-02T03:04:05Z", "seconds": 120}
READY: dict[str, Any] = {"phase": "ready", "drives": [], "containers": []}
NOTICED = {**READY, "phase": "saving", "leaving": {"why": "notice", "time": "2026-01-02T03:04:05Z"}}


class Machine:
    """A FAKE of a host, whose agent is this process's and whose files are in a directory."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def run(self, argv: list[str], timeout: float) -> Any:
        """`agent status`."""
        return SimpleNamespace(stdout=json.dumps(read_status(self.paths)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose drive is not mounted any more."""
    paths = Paths(tmp_path)
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1, mount=str(tmp_path))]))
    return Machine(paths)


@pytest.mark.parametrize(
    ("save", "request_", "error", "told"),
    [
        ("notice-1", {"notice": NOTICE, "at": 1.0}, GoingDown, "AWS takes the machine back at 2026-01-02T03:04:05Z"),
        ("idle", {"snapshot": True, "power_off": True}, GoingDown, "nobody used the machine for its idle minutes"),
        ("shutdown", None, GoingDown, "the machine is shutting down"),
        ("save-1", {"attended": True}, GoingDown, "a down is at work"),
        ("rehearsal-1", {"notice": NOTICE, "rehearsal": True}, Refused, "a rehearsal is at work"),
    ],
)
@pytest.mark.parametrize("phase", ["saving", "saved"])
def test_why_a_machine_saves_comes_from_its_agent(
    machine: Machine, save: str, request_: dict[str, Any] | None, error: type[XportalError], told: str, phase: str
) -> None:
    """From what the save was asked with; one for a rehearsal is no end of the portal."""
    write_json(machine.paths.state, {"phase": phase, "save": save})
    if request_ is not None:
        write_json(machine.paths.requests / f"{save}.json", request_)
    status = agent_status(machine)  # type: ignore[arg-type]
    with pytest.raises(error, match=told) as raised:
        check_ready(MACHINE, status)
    assert isinstance(raised.value, GoingDown) == (error is GoingDown)
    assert raised.value.exit_status == 3


def test_a_machine_that_works_says_nothing_of_an_end(machine: Machine) -> None:
    """Though an earlier save, a rehearsal, has left its id."""
    write_json(machine.paths.state, {"phase": "open", "save": "rehearsal-1"})
    assert agent_status(machine).leaving is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kept", [None, {"idle_minutes": 30, "newer": 1}, {"idle_minutes": "x"}, "no object", b"no JSON"]
)
def test_settings_on_the_drive_are_told_or_left_out(
    machine: Machine, kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept there makes no status fail, or is said to be no number as any other answer."""
    path = machine.paths.get_config().main.directory / "alone.json"
    path.parent.mkdir(exist_ok=True)
    if isinstance(kept, bytes):
        path.write_bytes(kept)
    elif kept is not None:
        write_json(path, kept)
    if kept == {"idle_minutes": "x"}:
        show_settings(machine.paths)
        with pytest.raises(MachineLost, match="idle_minutes"):
            agent_status(machine)  # type: ignore[arg-type]
        return
    show_settings(machine.paths)
    status = agent_status(machine)  # type: ignore[arg-type]
    wanted = UnattendedSpec("", 30.0 if isinstance(kept, dict) else 0.0, False, 0.0)
    assert status.settings == (None if isinstance(kept, str | bytes) else wanted)


def test_what_sticks_is_shown_by_status_and_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing that the machine does by itself is a line."""
    alone = UnattendedSpec("touch /v1/stop", 30.0, True, 7.5)
    ready = AgentStatus("ready", None, None, None, (), ())
    _show_machine(Context(), agent_report(replace(ready, settings=alone)))
    assert capsys.readouterr().out.splitlines() == [
        "  unused for 30 minutes it saves and ends itself (--idle-minutes)",
        "  a checkpoint every 7.5 minutes",
        "  a checkpoint when AWS may soon take it back",
        "  at a notice it runs: touch /v1/stop",
    ]
    _show_machine(Context(), agent_report(replace(ready, settings=UnattendedSpec("", 0.0, False, 0.0))))
    assert capsys.readouterr().out == ""


class Connection:
    """A FAKE of a host: what its agent says; or what is raised."""

    def __init__(self, answer: dict[str, Any] | XportalError) -> None:
        self._answer = answer

    def run(self, *_: object, **__: object) -> Any:
        """`agent status`."""
        if isinstance(self._answer, XportalError):
            raise self._answer
        return SimpleNamespace(stdout=json.dumps(self._answer))

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (NOTICED, READY, GoingDown),
        (READY, READY, DockerFailed),
        (MachineLost("it broke"), NOTICED, GoingDown),
        (MachineLost("it broke"), READY, DockerFailed),
        (MachineLost("it broke"), MachineGone("i-1 is terminated"), MachineGone),
    ],
)
def test_what_breaks_off_is_told_by_its_cause(
    first: dict[str, Any] | XportalError, second: dict[str, Any] | XportalError, error: type[XportalError]
) -> None:
    """The machine's end, if it ends; a connection that broke is made again to ask; else the failure itself."""
    opened: Any = SimpleNamespace(host=Connection(first), machine=MACHINE, reconnect=lambda: Connection(second))
    with pytest.raises(error), staying.explained(opened):
        raise DockerFailed("the stream broke")


@pytest.mark.parametrize("error", [NoSuchContainer("no"), BrokenPipeError()])
def test_what_no_end_explains_asks_nobody(error: Exception) -> None:
    """A name that is not there, and our own reader's end."""
    nobody: Any = None
    with pytest.raises(type(error)), staying.explained(nobody):
        raise error
