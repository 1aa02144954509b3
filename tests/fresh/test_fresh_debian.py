"""What a newcomer types, on a machine where nothing was ever installed by hand."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.readme import code_of
from tests.fresh.debian import FreshDebian, fresh_debian
from xportal.sandbox import image

PULL = "docker pull $IMAGE"
# Where no registry answers: an image of that name, made from what the sandbox has made of Debian's packages.
MADE_HERE = f"""
printf 'FROM {image.LOCAL_BASE}\\nRUN apt-get update -q && apt-get install -yq --no-install-recommends python3\\n' |
    docker build --quiet --network host --tag $IMAGE -
"""

pytestmark = [pytest.mark.all, pytest.mark.machine, pytest.mark.timeout(6000)]


@pytest.fixture(scope="module")
def debian() -> Iterator[FreshDebian]:
    """A fresh Debian that lasts for this file's tests."""
    with fresh_debian() as made:
        yield made


def test_demo_sets_up_tells_its_story_and_leaves_nothing(debian: FreshDebian) -> None:
    """`make demo` takes under 8 minutes from nothing and under 2 the second time, and leaves nothing behind."""
    cgroups = _containers_cgroups()
    for limit_s in (8 * 60, 2 * 60):
        started = time.monotonic()
        assert debian.run("exec tests/fresh/leaves-nothing make demo", timeout_s=2 * limit_s) == 0
        assert time.monotonic() - started < limit_s
    assert [group for group in _containers_cgroups() - cgroups if _abandoned(group)] == []
    assert str(debian.root) not in subprocess.run(["losetup"], capture_output=True, text=True, check=True).stdout


def test_by_hand_works_as_the_readme_prints_it(debian: FreshDebian) -> None:
    """The block of that name in README.md, pasted into a shell in a fresh clone."""
    block = code_of("README.md", "By hand, in the sandbox")
    assert PULL in block
    script = block.replace(PULL, f"{PULL} || {MADE_HERE.strip()}")
    assert debian.run(f"set -ex\n{script}", timeout_s=20 * 60) == 0


def test_make_test_passes(debian: FreshDebian) -> None:
    """`make test` passes, and skips nothing that this machine could run."""
    assert debian.run("CI=true make test", timeout_s=90 * 60) == 0


def _containers_cgroups() -> set[Path]:
    """The control groups that Docker made for containers."""
    return {group for group in Path("/sys/fs/cgroup").glob("**/") if re.fullmatch("[0-9a-f]{64}", group.name)}


def _abandoned(cgroup: Path) -> bool:
    """No process is in it or below. Others at work on this computer have containers too, with processes."""
    return not any(_processes_in(procs) for procs in cgroup.glob("**/cgroup.procs"))


def _processes_in(procs: Path) -> str:
    try:
        return procs.read_text()
    except OSError:  # it has ended, or takes threads alone
        return ""
