"""A drive that is filled on demand: the daemon, which is root here, follows no link that a container has put there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.agent.conftest import make_device
from tests.unit.agent.test_unmount import Held, held
from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import machine_faults

__all__ = ["held", "make_device"]
pytestmark = pytest.mark.machine


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of a MiB: a daemon that does follow the link fills no more than that."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_link_in_the_filler_s_place_is_not_followed(held: Held, small: Path) -> None:
    """It would lead to a file of this computer, which would grow by the drive's free space."""
    target = small / "ours"
    (held.mount / machine_faults.FILLER).symlink_to(target)
    with pytest.raises(HardwareFailure, match="cannot write"):
        machine_faults.fill(Path(held.device))
    assert not target.exists()
    (held.mount / machine_faults.FILLER).unlink()
    machine_faults.fill(Path(held.device))
    machine_faults.empty(Path(held.device))
