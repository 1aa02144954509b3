"""Unmounting a drive that is in use, on real block devices with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xportal.agent.core.events import Log
from xportal.agent.core.extensions import Extensions
from xportal.agent.core.mounts import find_mount, is_free, unmount
from xportal.agent.full.mount_holders import list_holders, release

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


def test_the_core_alone_ends_who_logged_in(held: Held) -> None:
    """Before the full agent is there: a shell has the time to end by itself, and one that ignores it does not stay."""
    written = held.mount.with_name("written")
    bystander = held.hold("sh", "-c", "echo up; read line", cwd=Path("/"))
    shell = held.hold("bash", "-c", f"trap 'echo saved >{written}; exit 7' TERM HUP; echo up; read line")
    deaf = held.hold("bash", "-c", IGNORES_TERM)
    clean, ended = unmount(held.device, held.log, Extensions().release)
    assert clean
    assert sorted(ended) == sorted(f"process {process.pid}" for process in (shell, deaf))
    assert (shell.wait(10), deaf.wait(10)) == (7, -9)
    assert written.read_text() == "saved\n"
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


def test_a_swap_file_is_switched_off(held: Held) -> None:
    """It holds the drive and is no process."""
    swap = held.mount / "swap"
    with open(swap, "wb") as file:
        file.write(bytes(1 << 20))
    swap.chmod(0o600)
    subprocess.run(["mkswap", "-q", swap], check=True)
    subprocess.run(["swapon", swap], check=True)
    try:
        assert unmount(held.device, held.log, release) == (True, [f"swap file {swap}"])
        assert f"swap file {swap}" in held.said()
    finally:
        subprocess.run(["swapoff", swap], check=False, capture_output=True)


@pytest.fixture
def disk_image(held: Held, tmp_path: Path) -> Iterator[Path]:
    """Where a disk image that is a file on the drive is mounted."""
    image, point = held.mount / "data.img", tmp_path / "nested"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["sync"], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["umount", point], check=False, capture_output=True)


def test_a_disk_image_on_the_drive_is_written_and_taken_off(held: Held, disk_image: Path, tmp_path: Path) -> None:
    """What was written in it without a flush is in a snapshot; who works in it is named and ended."""
    (disk_image / "results").write_text("an epoch's results")
    worker = held.hold("sh", "-c", "echo up; read line", cwd=disk_image)
    clean, ended = unmount(held.device, held.log, release)
    assert clean
    assert any(f"pid {worker.pid}" in who for who in ended)
    assert ended[-1] == f"disk image {held.mount / 'data.img'}"
    copy, outer, inner = tmp_path / "copy", tmp_path / "outer", tmp_path / "inner"
    subprocess.run(["cp", "--sparse=always", tmp_path / "disk0", copy], check=True)
    outer.mkdir()
    inner.mkdir()
    subprocess.run(["mount", "-o", "loop", copy, outer], check=True)
    try:
        subprocess.run(["mount", "-o", "loop", outer / "data.img", inner], check=True)
        try:
            assert (inner / "results").read_text() == "an epoch's results"
        finally:
            subprocess.run(["umount", inner], check=True)
    finally:
        subprocess.run(["umount", outer], check=True)


def test_what_cannot_be_taken_off_keeps_the_drive(held: Held, disk_image: Path) -> None:
    """An image whose file was deleted since cannot be told from others: the drive is said to be in use."""
    (held.mount / "data.img").unlink()
    assert unmount(held.device, held.log, release) == (False, [])
    assert not is_free(held.device)


@pytest.fixture
def dead_server(held: Held) -> Iterator[Path]:
    """A FUSE filesystem below the drive whose server never answers, as of a network drive that has gone."""
    point = held.mount / "s3"
    point.mkdir()
    server = held.hold(sys.executable, "-c", NEVER_ANSWERS, str(point), cwd=Path("/"))
    yield point
    server.kill()
    subprocess.run(["umount", "-fl", point], check=False, capture_output=True)


NEVER_ANSWERS = """
import ctypes, os, sys
os.path.exists("/dev/fuse") or os.mknod("/dev/fuse", 0o20666, os.makedev(10, 229))
handle = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={handle},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(os.strerror(ctypes.get_errno())) if libc.mount(b"s3", sys.argv[1].encode(), b"fuse", 0, options) else None
print("up", flush=True)
sys.stdin.readline()
"""


def test_a_dead_file_server_holds_nothing_up(held: Held, dead_server: Path) -> None:
    """Neither its mount nor a process that waits for it."""
    waits = subprocess.Popen(["ls", dead_server], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shell = held.hold("sh", "-c", "echo up; read line")
    began = time.monotonic()
    try:
        clean, ended = unmount(held.device, held.log, release)
        assert clean
        assert time.monotonic() - began < 40
        assert any(f"pid {shell.pid}" in who for who in ended)
    finally:
        waits.kill()
        waits.wait(30)


def test_the_asking_process_is_no_holder(held: Held) -> None:
    """The agent's ancestors are spared, wherever they work."""
    handle = os.open(held.mount, os.O_RDONLY)
    try:
        assert list_holders({os.stat(held.mount).st_dev}) == []
    finally:
        os.close(handle)
