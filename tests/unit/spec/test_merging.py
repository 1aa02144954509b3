"""A file under a command line, and which file it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xportal.errors import UsageError
from xportal.spec import DriveSpec, FileSpec, MachineSpec, PortalSpec, UnattendedSpec
from xportal.spec.finding import find_file, portal_name
from xportal.spec.merging import merged
from xportal.spec.reading import read_spec

TEXT = """
machine: {gpu: true, types: [g5.xlarge], min_gpu_memory: 16, max_price: 1, architecture: x86_64, image_id: ami-1}
drives: [{name: a, size: 5}]
limits: {idle_minutes: 30}
on_notice: echo
checkpoint_every: 10
checkpoint_on_rebalance: true
"""


def file_of(text: str) -> FileSpec:
    return read_spec("portal.yaml", text.encode(), {})


def over(text: str, *, size: int | None = None, drives: tuple[str, ...] = (), alone: Any = None, **machine: Any) -> Any:
    """The portal, and the keys that a command line beats."""
    asked = PortalSpec("p", MachineSpec(**machine), size, tuple(map(DriveSpec, drives)), alone or UnattendedSpec())
    return merged(asked, file_of(text))


def test_a_plain_command_line_is_as_the_file_says() -> None:
    """All of it, and nothing is beaten."""
    spec, beaten = over(TEXT)
    file = file_of(TEXT)
    assert (spec.machine, spec.drives, spec.alone) == (file.machine, file.drives, file.alone)
    assert (spec.file, spec.follows, beaten) == (file, file.follows, [])


@pytest.mark.parametrize(
    ("given", "beaten", "machine"),
    [
        ({"gpu": False}, ["machine.gpu", "machine.types", "machine.min_gpu_memory"], {"gpu": False, "types": ()}),
        ({"types": ("g6.xlarge",)}, ["machine.gpu", "machine.types", "machine.min_gpu_memory"], {"gpu": None}),
        ({"on_demand": True}, ["machine.max_price", "machine.market"], {"on_demand": True, "max_price": None}),
        ({"on_demand": False}, [], {"on_demand": False, "max_price": 1.0}),
        ({"max_price": 2.0}, ["machine.max_price"], {"max_price": 2.0, "on_demand": False}),
        ({"image_id": "ami-2"}, ["machine.image_id"], {"image_id": "ami-2"}),
        ({"architecture": "arm64"}, ["machine.architecture"], {"architecture": "arm64"}),
        ({"drives": ("b",)}, ["drives"], {}),
        ({"size": 9}, ["drives"], {}),
        ({"alone": UnattendedSpec(idle_minutes=0.0)}, ["limits.idle_minutes"], {}),
        ({"alone": UnattendedSpec("date", None, False, 0.0)},
         ["on_notice", "checkpoint_on_rebalance", "checkpoint_every"], {}),
    ],
)  # fmt: skip
def test_an_option_wins(given: dict[str, Any], beaten: list[str], machine: dict[str, Any]) -> None:
    """And its key is named; the others stay."""
    spec, keys = over(TEXT, **given)
    assert keys == beaten
    assert {name: getattr(spec.machine, name) for name in machine} == machine


def test_a_price_beats_the_on_demand_market() -> None:
    """They exclude each other, and the command line wins."""
    spec, beaten = over("machine: {market: on-demand}\n", max_price=2.0)
    assert (spec.machine.on_demand, spec.machine.max_price, beaten) == (False, 2.0, ["machine.market"])


def test_sizes() -> None:
    """--size is of the only drive; of two it is not clear which."""
    assert over(TEXT, size=9)[0].drives == (DriveSpec("a", 9),)
    assert over("name: p\n", size=9)[0].size_gib == 9
    with pytest.raises(UsageError, match="--size is of one drive"):
        over("drives: [{name: a}, {name: b}]\n", size=9)


def test_which_file(tmp_path: Path) -> None:
    """One that is named; NAME with an ending; portal with an ending if no name is given."""
    for name in ("train.yaml", "portal.yml", "twice.json", "twice.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "dir.yaml").mkdir()
    assert find_file("train", tmp_path) == tmp_path / "train.yaml"
    assert find_file(None, tmp_path) == tmp_path / "portal.yml"
    assert find_file("sub/x", tmp_path) == tmp_path / "sub/x"
    assert find_file("x.json", tmp_path) == tmp_path / "x.json"
    assert [find_file(name, tmp_path) for name in ("other", "dir", "train2")] == [None, None, None]
    with pytest.raises(UsageError, match=r"twice\.yaml, twice\.json"):
        find_file("twice", tmp_path)


@pytest.mark.parametrize(
    ("word", "file", "told", "name"),
    [
        (None, None, None, "xdrive"), (None, "portal.yaml", None, "xdrive"), (None, "portal.yaml", "a", "a"),
        ("train", "train.yaml", None, "train"), ("train", "train.yaml", "a", "train"),
        ("./x.yaml", "x.yaml", None, "x"),
        ("x.yaml", "x.yaml", "a", "a"), ("train", None, None, "train"), ("t", "other.yaml", "a", "t"),
    ],
)  # fmt: skip
def test_the_portal_s_name(word: str | None, file: str | None, told: str | None, name: str) -> None:
    """The command line's, the file's, the file's own name."""
    assert portal_name(word, Path(file) if file else None, told) == name


def test_a_file_name_that_is_no_portal_s() -> None:
    with pytest.raises(UsageError, match="cannot be a portal's name"):
        portal_name("my spec.yaml", Path("my spec.yaml"), None)
