"""What waits in memory for a drive is bounded, on a real device; where it cannot be, that is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from xportal.agent.core.writeback import BOUND, bound_dirty


@pytest.mark.machine
@pytest.mark.skipif(not Path("/sys/class/bdi/7:0/max_bytes").exists(), reason="this kernel bounds no single device")
def test_this_kernel_takes_the_bound(make_device: Callable[[int], str]) -> None:
    """Within what the kernel rounds to."""
    device = make_device(1)
    assert device in bound_dirty(device)
    bdi = Path(f"/sys/class/bdi/7:{os.minor(os.stat(device).st_rdev)}")
    assert (bdi / "strict_limit").read_text().strip() == "1"
    assert abs(int((bdi / "max_bytes").read_text()) - BOUND) < BOUND / 10


def test_older_kernels_bound_all_disks(tmp_path: Path) -> None:
    """In bytes, both when writing begins and when writers must wait."""
    vm = tmp_path / "proc/sys/vm"
    vm.mkdir(parents=True)
    assert "all disks" in bound_dirty("/dev/null", tmp_path)
    assert (vm / "dirty_bytes").read_text() == str(BOUND)
    assert (vm / "dirty_background_bytes").read_text() == str(BOUND // 2)


def test_a_kernel_that_refuses_does_not_keep_the_drive_closed(tmp_path: Path) -> None:
    """It is said, and the boot goes on."""
    assert "cannot be bounded" in bound_dirty("/dev/null", tmp_path)
