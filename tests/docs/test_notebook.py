"""examples.ipynb: its commands exist, and all of it runs from top to bottom."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.fastai import REPOSITORY, epochs_of
from xportal.cli.app import app
from xportal.sandbox.demo.stage import Stage

NOTEBOOK = REPOSITORY / "examples.ipynb"


def _code_cells(path: Path = NOTEBOOK) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def _commands() -> Iterator[list[str]]:
    """The `xportal` commands, each as its words."""
    for cell in _code_cells():
        lines = [line.strip() for line in cell["source"]]
        yield from (shlex.split(line)[1:] for line in lines if line.startswith("xportal "))


def test_every_shell_cell_stops_at_the_first_failure() -> None:
    """No cell goes on after a command that failed: `!command` and plain %%bash would."""
    for cell in _code_cells():
        assert cell["source"][0].startswith(("%%bash -e\n", "%env ")), cell["source"]


def test_every_command_exists() -> None:
    """Each `xportal COMMAND` in the notebook is one that the program has."""
    known: Any = typer.main.get_command(app)
    used = list(_commands())
    assert {"up", "push", "run", "down"} <= {words[0] for words in used}
    for words in used:
        assert words[0] in known.commands
        if words[0] == "sandbox":
            assert words[1] in known.commands["sandbox"].commands


@pytest.mark.all
@pytest.mark.machine
@pytest.mark.timeout(3600)
def test_the_notebook_executes_from_top_to_bottom(fastai_image: str, stage: Stage) -> None:
    """Every cell succeeds, and the outputs show what the text claims."""
    shutil.copy(NOTEBOOK, stage.desk)
    (stage.desk / "dockerfiles").symlink_to(REPOSITORY / "dockerfiles")
    stage.type("jupyter execute --timeout=1200 --output=executed examples.ipynb")
    shown = {cell["id"]: _output(cell) for cell in _code_cells(stage.desk / "executed.ipynb")}
    done = int(re.findall(r"going on after epoch (\d+)", shown["logs-again"])[0])
    assert epochs_of(shown["logs"]) == [1, 2, 3]
    assert 3 <= done < 60
    assert epochs_of(shown["logs-again"]) == [done + 1, done + 2]
    assert "SIMULATED" in shown["same-things"]
    assert "written on the first machine\nso was this\n" in shown["same-things"]
    assert "token=" in shown["lab-run"]


def _output(cell: dict[str, Any]) -> str:
    """What a cell wrote to stdout."""
    streams = [output for output in cell["outputs"] if output["output_type"] == "stream"]
    return "".join(line for stream in streams if stream["name"] == "stdout" for line in stream["text"])
