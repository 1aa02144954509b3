"""A save that cannot finish exits 6, tells what exists and is billed, and the one command that finishes it: it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import make_lab
from tests.crash.console import Life
from xportal.aws.devices import DEVICE
from xportal.drive import plan as p
from xportal.errors import SaveIncomplete
from xportal.sandbox.api.server import Cloud

_numbers = itertools.count()


@pytest.fixture
def life(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    """A drive of the test's own; commands are not patient."""
    lab = make_lab(cloud, tmp_path, monkeypatch, patience=50.0)
    yield Life(lab, f"incomplete{next(_numbers)}")
    lab.cloud.clear_faults()


# The fault, what is said of it, and what exists then and is billed.
FAULTS: list[tuple[str, dict[str, Any], str, set[str]]] = [
    ("error", {"operations": ["CreateSnapshot"]}, "VOLUME keeps .* AWS refused CreateSnapshot", {"volume"}),
    ("throttle", {"operations": ["CreateSnapshot"]}, "VOLUME keeps .* AWS refused CreateSnapshot", {"volume"}),
    ("snapshot-fail", {}, "VOLUME keeps .* AWS could not finish snap-", {"volume"}),
    ("snapshot-stuck", {}, "snap-.* is pending .*without a change", {"volume"}),
    ("error", {"operations": ["TerminateInstances"]}, "AWS refused TerminateInstances", {"machine", "volume"}),
    ("error", {"operations": ["DeleteVolume"]}, "AWS refused DeleteVolume", {"volume"}),
    ("error", {"operations": ["DeleteKeyPair"]}, "AWS refused DeleteKeyPair", set()),
]


def name_of(kind: str, options: dict[str, Any]) -> str:
    """What a case is called."""
    return " ".join([kind, *options.get("operations", ())])


@pytest.mark.parametrize(
    ("kind", "options", "words", "billed"),
    [
        # the SDK takes its time with calls that it may repeat
        pytest.param(*case, id=name_of(*case[:2]), marks=pytest.mark.all if "Delete" in name_of(*case[:2]) else ())
        for case in FAULTS
    ],
)
def test_incomplete(life: Life, kind: str, options: dict[str, Any], words: str, billed: set[str]) -> None:
    """As it is told, so it is; then the fault is over, and the command that was named finishes."""
    machine = life.awake("kept")
    ids = {"machine": machine.id, "volume": machine.disks[DEVICE]}
    life.lab.cloud.add_fault(kind, **options)
    with pytest.raises(SaveIncomplete, match=words.replace("VOLUME", ids["volume"])) as caught:
        life.lab.down(life.drive)
    error = caught.value
    assert error.exit_status == 6
    assert "nothing is lost" in error.message
    assert error.hint.split("  ")[0] == f"xportal down {life.drive}"
    assert {line.split()[0] for line in error.billed} == {ids[what] for what in billed}
    life.lab.cloud.clear_faults()
    life.goes_down()
    life.comes_back("kept")


def test_sweep_finishes_it_too(life: Life) -> None:
    """From another computer, which knows of no portal."""
    life.awake("kept")
    life.lab.cloud.add_fault("snapshot-fail")
    with pytest.raises(SaveIncomplete):
        life.lab.down(life.drive)
    life.lab.cloud.clear_faults()
    life.lab.lifecycle(life.drive).settle(p.Goal.SWEEP)
    assert (life.observed.volumes, life.observed.lock) == ((), None)
    life.comes_back("kept")
