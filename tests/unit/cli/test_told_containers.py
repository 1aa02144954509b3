"""What `up`, `status`, `down` and `rehearse` tell of containers, from what the agent says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from xportal.agent.full.status import find_note
from xportal.cli.options import Context
from xportal.cli.portals import _show_machine
from xportal.errors import MachineLost
from xportal.portal.agent import agent_status, follow
from xportal.portal.reporting import agent_report

LOST = "web can write to /data, which is on no drive: it goes with the machine"
WHY = "is not started: /data is not there"


def container(name: str, *, running: bool, note: str | None = None, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """A container in the agent's status."""
    return {"id": name, "name": name, "running": running, "gpu": False, "note": note, "warnings": warnings}


class Agent:
    """FAKE of a Host whose agent is ready, and tells of these containers."""

    def __init__(self, *containers: dict[str, Any]) -> None:
        self.told = {"phase": "ready", "drives": [], "containers": containers}

    def run(self, _argv: list[str], timeout: float) -> Any:
        """`agent status`."""
        return SimpleNamespace(stdout=json.dumps(self.told))


def test_why_one_is_stopped_is_told_and_what_will_be_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside its name on stdout, and as a warning on stderr; an agent of before says nothing of warnings."""
    older = {"id": "c", "name": "older", "running": True, "gpu": False, "note": None}
    train, web = container("train", running=False, note=WHY), container("web", running=True, warnings=(LOST,))
    status = agent_status(Agent(train, web, older))  # type: ignore[arg-type]
    _show_machine(Context(), agent_report(status))
    told = capsys.readouterr()
    assert told.out.splitlines() == [f"  train: stopped ({WHY})", "  web: running", "  older: running"]
    assert told.err.splitlines() == [f"warning: {LOST}"]


@pytest.mark.parametrize(
    "odd",
    [{"name": 1}, {"running": None}, {"id": []}, {"gpu": "yes"}, {"note": {}}, {"warnings": "x"}, {"warnings": [1]}],
)
def test_a_container_that_makes_no_sense_is_no_answer(odd: dict[str, Any]) -> None:
    """Whatever field it is: the agent does not answer, in one error."""
    with pytest.raises(MachineLost, match=f"its {next(iter(odd))}"):
        agent_status(Agent(container("train", running=True) | odd))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("note", "running", "told"),
    [
        (WHY, False, WHY),
        (WHY, True, None),
        (f"has the machine's GPU; {WHY}", True, None),
        ("did not start: no such file", False, "did not start: no such file"),
        ("has the machine's GPU", True, "has the machine's GPU"),
        ("has the machine's GPU", False, None),
        ("runs without a GPU: this machine has none", False, None),
        ("runs without a GPU: this machine has none", True, "runs without a GPU: this machine has none"),
        ("was not made anew for this machine, and is as it was: no space", False,
         "was not made anew for this machine, and is as it was: no space"),
        (None, True, None),
    ],
)  # fmt: skip
def test_a_note_of_the_boot_counts_while_it_is_true(note: str | None, running: bool, told: str | None) -> None:
    """Somebody may have started or stopped the container since."""
    info = {"Id": "aa", "State": {"Running": running}}
    assert find_note(info, {"aa": note} if note else {}) == told


def test_what_will_be_lost_is_a_warning_in_the_story_of_a_save() -> None:
    """The rest of the agent's log is told as it is."""

    class Host:
        """A machine's log."""

        def lines(self, argv: list[str]) -> Iterator[str]:
            """Its lines."""
            yield json.dumps({"t": 0, "step": "record", "text": "Noting what runs"})
            yield json.dumps({"t": 1, "step": "lost", "text": LOST})
            yield json.dumps({"t": 2, "end": True, "ok": True, "error": None, "result": {}})

    said: list[str] = []
    warned: list[str] = []
    events = list(follow(Host(), "save-1", said.append, warned.append))  # type: ignore[arg-type]
    assert (said, warned, len(events)) == (["Noting what runs"], [LOST], 3)
