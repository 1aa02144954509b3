"""Block devices made of files, and programs made of scripts."""

from __future__ import annotations

import os
import subprocess
import threading
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


class Programs:
    """Scripts in place of the programs that the agent runs. Each notes how it is called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hangs = directory / ".hangs"
        self._log = directory / ".log"
        self._log.touch()

    def put(self, name: str, script: str) -> None:
        """From now on, what the program does."""
        path = self.directory / name
        hangs = f'case "{name} $*" in "$(cat {self._hangs} 2> /dev/null || echo -)"*) hang=1;; *) hang=;; esac'
        wait = f"while [ $hang ] && [ -e {self._hangs} ] && [ $hang -lt 600 ]; do sleep 0.05; hang=$((hang + 1)); done"
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._log}\n{hangs}\n{wait}\n{script}\n')
        path.chmod(0o755)

    def hang(self, beginning: str) -> None:
        """Calls that begin so take half a minute, or until the test is over."""
        self._hangs.write_text(beginning)

    def calls(self) -> list[str]:
        """The command lines so far."""
        return self._log.read_text().splitlines()

    def close(self) -> None:
        """What hangs ends."""
        self._hangs.unlink(missing_ok=True)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """A machine whose Docker does not run, whose systemd does nothing, and where nothing is left to write."""
    before = threading.enumerate()
    directory = tmp_path / "programs"
    directory.mkdir()
    programs = Programs(directory)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    programs.put("systemctl", "[ $1 != is-active ]")
    programs.put("sync", "")
    yield programs
    programs.close()
    # What a save has given up on goes on in its thread: never with this computer's own programs.
    for thread in set(threading.enumerate()) - set(before):
        thread.join(30)
        assert not thread.is_alive(), f"{thread} goes on"
