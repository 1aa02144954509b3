"""The two newcomer commands on a machine where nothing was ever installed by hand."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh.debian import FreshDebian, fresh_debian

pytestmark = [pytest.mark.all, pytest.mark.machine, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def debian() -> Iterator[FreshDebian]:
    """A fresh Debian that lasts for this file's tests."""
    with fresh_debian() as made:
        yield made


def test_demo_sets_up_tells_its_story_and_leaves_nothing(debian: FreshDebian) -> None:
    """`make demo` takes under 8 minutes from nothing and under 2 the second time, and leaves nothing behind."""
    cgroups = _cgroups()
    for limit_s in (8 * 60, 2 * 60):
        started = time.monotonic()
        assert debian.run("exec tests/fresh/leaves-nothing make demo", timeout_s=2 * limit_s) == 0
        assert time.monotonic() - started < limit_s
    assert not (_cgroups() - cgroups - _cgroups_in_use())
    assert str(debian.root) not in subprocess.run(["losetup"], capture_output=True, text=True, check=True).stdout


def test_make_test_passes(debian: FreshDebian) -> None:
    """`make test` passes in under 15 minutes, and skips nothing that this machine could run."""
    started = time.monotonic()
    assert debian.run("CI=true make test", timeout_s=30 * 60) == 0
    assert time.monotonic() - started < 15 * 60


def _cgroups() -> set[Path]:
    return {directory for directory in Path("/sys/fs/cgroup").glob("**") if (directory / "cgroup.procs").exists()}


def _cgroups_in_use() -> set[Path]:
    """Those with a process in them or below; others at work on this computer may make and leave theirs meanwhile."""
    used = {directory for directory in _cgroups() if _processes_in(directory)}
    return used.union(*(directory.parents for directory in used))


def _processes_in(cgroup: Path) -> str:
    try:
        return (cgroup / "cgroup.procs").read_text()
    except OSError:  # it has ended, or takes threads alone
        return ""
