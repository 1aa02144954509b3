"""Block devices made of files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def make_device(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """Make an empty block device of so many MiB. Needs root."""
    made: list[str] = []

    def make(mib: int) -> str:
        file = tmp_path / f"disk{len(made)}"
        with open(file, "wb") as disk:
            disk.truncate(mib << 20)
        argv = ["losetup", "--find", "--show", str(file)]
        made.append(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
        return made[-1]

    yield make
    for device in made:
        subprocess.run(["umount", "--all-targets", "--recursive", device], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", device], check=True)
