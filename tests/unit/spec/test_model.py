"""What a portal can be called, and what makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xportal.cli.machine_options import SPEC_OPTIONS
from xportal.drive.made import Description
from xportal.errors import SpecError, UsageError
from xportal.spec import MAX_DRIVES, DriveSpec, MachineSpec, PortalSpec, UnattendedSpec, check_name
from xportal.watch.step import Limits


@pytest.mark.parametrize("name", ["xdrive", "a", "my-drive_2.0", "A" * 60])
def test_good_names(name: str) -> None:
    """Names that can be a tag, a key pair, a host name and a file name."""
    assert check_name("drive", name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", 'a"b', "$(reboot)", "a\nb", "-a", "../x", "ä", "A" * 61, "a\n", "a/b", "*"]
)
def test_bad_names(name: str) -> None:
    """Everything else is refused, in one printable line."""
    with pytest.raises(UsageError) as caught:
        check_name("drive", name)
    assert caught.value.message.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("machine", "size"),
    [
        ({}, 0),
        ({}, -5),
        ({}, 65537),
        ({"max_price": 0}, None),
        ({"min_gpu_memory_gib": -1}, None),
        ({"gpu": False, "min_gpu_memory_gib": 16}, None),
        ({"architecture": "sparc"}, None),
        ({"on_demand": True, "max_price": 1.0}, None),
    ],
)
def test_nonsense(machine: dict[str, Any], size: int | None) -> None:
    """Values that no machine and no drive can have."""
    with pytest.raises(UsageError):
        PortalSpec("demo", MachineSpec(**machine), size)


def test_names_of_several_drives() -> None:
    """What AWS would refuse only when the machine is there, or when it is to be saved, is refused at once."""
    names = [f"{number:012}" for number in range(MAX_DRIVES)]
    drives = tuple(map(DriveSpec, names))
    PortalSpec("p", drives=drives[:-1])
    with pytest.raises(UsageError, match="too long"):
        PortalSpec("p", drives=drives)
    assert len(str(Description(dict.fromkeys(names, 99_999), "checkpoint"))) <= 255


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        (lambda: PortalSpec(size_gib=5, drives=(DriveSpec("a"),)), ("size_gib", "drives")),
        (lambda: PortalSpec(drives=(DriveSpec("a"), DriveSpec("a"))), ("drives",)),
        (lambda: DriveSpec("a", 0), ("size_gib",)),
        (lambda: _of(gpu=False, min_gpu_memory_gib=16), ("machine.gpu", "machine.min_gpu_memory_gib")),
        (lambda: _of(on_demand=True, max_price=1), ("machine.on_demand", "machine.max_price")),
        (lambda: _of(max_price=0), ("machine.max_price",)),
        (lambda: _of(min_gpu_memory_gib=-1), ("machine.min_gpu_memory_gib",)),
        (lambda: _of(architecture="{0}"), ("machine.architecture",)),
        (lambda: UnattendedSpec(idle_minutes=-1), ("alone.idle_minutes",)),
        (lambda: UnattendedSpec(checkpoint_minutes=-1), ("alone.checkpoint_minutes",)),
        (lambda: Limits(dollars=0), ("limits.dollars",)),
        (lambda: Limits(hours=0), ("limits.hours",)),
    ],
)
def test_errors_name_fields_and_the_command_line_options(written: Callable[[], object], paths: tuple[str, ...]) -> None:
    """Who writes a specification in Python or in a file knows no options."""
    with pytest.raises(SpecError) as caught:
        written()
    error = caught.value
    assert error.paths == paths
    assert "--" not in error.message + error.hint
    typed = error.named(SPEC_OPTIONS)
    told = typed.message + typed.hint
    assert not any(path in told for path in paths if "." in path)
    assert all(SPEC_OPTIONS[path] in told for path in paths if path in error.message + error.hint)


def _of(**machine: Any) -> PortalSpec:
    return PortalSpec("demo", MachineSpec(**machine))
