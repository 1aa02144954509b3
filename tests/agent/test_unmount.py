"""Unmounting a drive that is in use, on real block devices with real processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xportal.agent.core.events import Log
from xportal.agent.core.mounts import find_mount, is_free, unmount
from xportal.agent.full.holders import list_holders, release

pytestmark = pytest.mark.machine

# What waits for a line on its stdin ends with the test, whatever happens.
IGNORES_TERM = "trap '' TERM HUP; echo up; read line"


class Held:
    """A mounted drive, with processes that hold it."""

    def __init__(self, device: str, mount: Path) -> None:
        self.device = device
        self.mount = mount
        self.log = Log(mount.with_name("log.jsonl"))
        self.processes: list[subprocess.Popen[str]] = []
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        mount.mkdir()
        subprocess.run(["mount", device, mount], check=True)

    def hold(self, *argv: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a process that prints `up` when it holds the drive."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, cwd=cwd or self.mount, stdin=pipe, stdout=pipe, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def said(self) -> str:
        """The log's sentences."""
        lines = Path(self.log._path).read_text().splitlines()
        return "\n".join(json.loads(line)["text"] for line in lines)

    def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


@pytest.fixture
def held(make_device: Callable[[int], str], tmp_path: Path) -> Iterator[Held]:
    """A mounted drive that nobody holds yet."""
    held = Held(make_device(64), tmp_path / "v1")
    yield held
    held.close()


def test_a_drive_that_nobody_holds_is_unmounted_with_all_its_binds(held: Held, tmp_path: Path) -> None:
    """Bind mounts of parts of it elsewhere, and files of the root disk bound into it."""
    home, keys = tmp_path / "home", tmp_path / "keys"
    home.mkdir()
    keys.touch()
    (held.mount / "home").mkdir()
    (held.mount / "home/keys").touch()
    subprocess.run(["mount", "--bind", keys, held.mount / "home/keys"], check=True)
    subprocess.run(["mount", "--rbind", held.mount / "home", home], check=True)
    assert unmount(held.device, held.log, release) == (True, [])
    assert find_mount(str(home)) is None
    assert is_free(held.device)


def test_unmounting_twice_is_no_error(held: Held) -> None:
    """A save that is repeated finds nothing to do."""
    assert unmount(held.device, held.log, release) == (True, [])
    assert unmount(held.device, held.log, release) == (True, [])


def test_whoever_holds_it_is_named_and_ended(held: Held) -> None:
    """A working directory, an open file, a program that ignores SIGTERM: each is named and ended."""
    (held.mount / "file").touch()
    bystander = held.hold("sh", "-c", "echo up; read line", cwd=Path("/"))
    shell = held.hold("sh", "-c", "echo up; read line")
    deaf = held.hold("bash", "-c", IGNORES_TERM)
    reader = held.hold("bash", "-c", f"cd /; exec 3<{held.mount}/file; echo up; read line")
    clean, ended = unmount(held.device, held.log, release)
    assert clean
    assert len(ended) == 3
    assert f"pid {shell.pid}, root: works in it" in held.said()
    assert f"pid {reader.pid}, root: has a file open" in held.said()
    assert "SIGKILL" in held.said()
    assert (shell.wait(10), deaf.wait(10)) == (-15, -9)
    assert bystander.poll() is None
    assert is_free(held.device)


def test_a_view_of_its_own_does_not_keep_it_mounted(held: Held) -> None:
    """A process in another mount namespace, which no unmount here reaches, is ended too."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo up; read line"]
    process = held.hold(*argv, cwd=Path("/"))
    clean, ended = unmount(held.device, held.log, release)
    assert clean
    assert [f"pid {process.pid}" in who for who in ended] == [True]
    assert is_free(held.device)


def test_what_cannot_be_unmounted_is_frozen(held: Held) -> None:
    """A swap file holds the drive and is no process: it is frozen, so that a snapshot is whole, and that is said."""
    swap = held.mount / "swap"
    with open(swap, "wb") as file:
        file.write(bytes(1 << 20))
    swap.chmod(0o600)
    subprocess.run(["mkswap", "-q", swap], check=True)
    subprocess.run(["swapon", swap], check=True)
    try:
        clean, ended = unmount(held.device, held.log, release)
        assert (clean, ended) == (False, [])
        assert "freezing" in held.said()
        subprocess.run(["fsfreeze", "-u", held.mount], check=True)  # fails if it was not frozen
    finally:
        subprocess.run(["swapoff", swap], check=True)


def test_the_asking_process_is_no_holder(held: Held) -> None:
    """The agent's ancestors are spared, wherever they work."""
    handle = os.open(held.mount, os.O_RDONLY)
    try:
        assert list_holders({os.stat(held.mount).st_dev}) == []
    finally:
        os.close(handle)
