"""What containers mount from the machine: not run where it is not there, said while it is not on a drive."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.full.off_drive import find_lost, warnings
from xportal.agent.full.sources import find_absent


@pytest.fixture
def machine(tmp_path: Path, make_device: Callable[[int], str]) -> Iterator[Path]:
    """A directory on the root disk, with a drive mounted at v1 and memory at fast."""
    device = make_device(16)
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    for name in ("v1", "fast", "data", "home"):
        (tmp_path / name).mkdir()
    subprocess.run(["mount", device, tmp_path / "v1"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "fast"], check=True)
    (tmp_path / "v1/home").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "v1/home", tmp_path / "home"], check=True)
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "link-to-drive").symlink_to("v1/home")
    (tmp_path / "link-to-nowhere").symlink_to("gone")
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    os.mkfifo(tmp_path / "fifo")
    yield tmp_path
    for name in ("home", "fast"):
        subprocess.run(["umount", tmp_path / name], check=True)


def bind(source: object, *, writable: bool = True) -> dict[str, Any]:
    """What `docker inspect` says of a container with a bind."""
    mount = {"Type": "bind", "Source": str(source), "Destination": "/x", "Mode": "", "RW": writable}
    return {"Id": "aa", "Name": "/web", "Mounts": [mount]}


def volume(root: Path, *, writable: bool = True, **options: str) -> dict[str, Any]:
    """The same, with a volume that Docker keeps below a directory."""
    data = root / "docker/volumes/models/_data"
    data.mkdir(parents=True, exist_ok=True)
    if options:
        data.with_name("opts.json").write_text(json.dumps(options))
    facts = {"Type": "volume", "Name": "models", "Driver": "local", "Source": str(data), "RW": writable}
    return {"Id": "aa", "Name": "/web", "Mounts": [facts]}


@pytest.mark.parametrize("place", ["v1", "v1/home", "home", "link-to-drive", "fast", "socket", "fifo", "file"])
def test_what_is_there_and_is_no_directory_of_the_root_disk_passes(machine: Path, place: str) -> None:
    """On a drive, wherever it is mounted; in memory; sockets, pipes and files, which the machine's image has."""
    assert find_absent(bind(machine / place)) == ""


@pytest.mark.parametrize(
    "place",
    ["/dev", "/dev/null", "/dev/gone", "/proc", "/sys/fs/cgroup", "/run", "/var/run/docker.sock", "/lib/modules", "/",
     "/run/gone", "/tmp/.X11-unix", "/etc/passwd"],
)  # fmt: skip
def test_what_belongs_to_the_machine_passes(place: str) -> None:
    """Whether or not this machine has it."""
    assert find_absent(bind(place)) == ""


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("place", ["gone", "v1/gone", "link-to-nowhere", "data/gone"])
def test_what_is_not_there_does_not_pass(machine: Path, place: str, writable: bool) -> None:
    """Docker would make an empty directory of it."""
    assert find_absent(bind(machine / place, writable=writable)) == f"{machine / place} is not there"


@pytest.mark.parametrize("place", ["data", "link", "v1/../data", "data/"])
def test_a_writable_directory_of_the_root_disk_does_not_pass(machine: Path, place: str) -> None:
    """It may be there because the machine's image has it, or because Docker made it; to read from it is no harm."""
    assert "root disk" in find_absent(bind(f"{machine}/{place}"))
    assert find_absent(bind(f"{machine}/{place}", writable=False)) == ""


def test_a_drive_that_is_not_mounted_is_the_root_disk(machine: Path) -> None:
    """As where an `up` left out the second drive."""
    assert find_absent(bind(machine / "v1")) == ""
    subprocess.run(["umount", machine / "home", machine / "v1"], check=True)
    assert "root disk" in find_absent(bind(machine / "v1"))
    subprocess.run(["mount", "--bind", machine / "data", machine / "home"], check=True)


def test_volumes_are_where_docker_keeps_them_unless_they_are_binds_by_another_name(machine: Path) -> None:
    """`docker volume create --opt o=bind --opt device=/data` is /data; other drivers and kinds know best."""
    assert find_absent(volume(machine / "v1")) == ""
    data = str(machine / "data")
    bound = {"MountType": "none", "MountOpts": "bind", "MountDevice": data}
    assert "root disk" in find_absent(volume(machine / "v1", **bound))
    assert find_absent(volume(machine / "v1", writable=False, **bound)) == ""
    assert find_absent(volume(machine / "v1", **{**bound, "MountOpts": "ro,bind"})) == ""
    assert "not there" in find_absent(volume(machine / "v1", **{**bound, "MountDevice": f"{data}/gone"}))
    assert find_absent(volume(machine / "v1", **{**bound, "MountDevice": str(machine / "v1")})) == ""
    nfs = {"MountType": "nfs", "MountOpts": "addr=10.9.0.1,rw", "MountDevice": ":/gone"}
    assert find_absent(volume(machine / "v1", **nfs)) == ""
    plugged = volume(machine / "v1")
    plugged["Mounts"][0].update(Driver="somebody/plugin:latest", Source="/gone")
    assert find_absent(plugged) == ""


def test_other_mounts_have_no_source() -> None:
    """--tmpfs and the like."""
    assert (
        find_absent({"Id": "aa", "Mounts": [{"Type": "tmpfs", "Source": "", "Destination": "/fast", "RW": True}]}) == ""
    )
    assert find_absent({"Id": "aa", "Mounts": None}) == ""


def test_what_goes_with_the_machine_is_named(machine: Path) -> None:
    """Directories and files of its own disks that a container can write to; not drives, memory, system paths."""
    paths = Paths(machine)
    drives = [DriveConfig("demo", 1, mount=str(machine / "v1")), DriveConfig("gone", 1, mount=str(machine / "v2"))]
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", drives))

    def lost(info: dict[str, Any]) -> list[str]:
        return [os.path.relpath(source, machine) for source in find_lost(info, paths)]

    for place in ("data", "link", "file"):
        assert lost(bind(machine / place)) == [place]
    for place in ("v1", "home", "link-to-drive", "fast", "gone"):
        assert lost(bind(machine / place)) == []
    assert lost(bind(machine / "data", writable=False)) == []
    assert lost(bind("/run/docker.sock")) == lost(bind("/")) == []
    bound = {"MountType": "none", "MountOpts": "bind", "MountDevice": str(machine / "data")}
    assert lost(volume(machine / "v1", **bound)) == ["data"]
    [text] = warnings(bind(machine / "data"), paths)
    assert text == f"web can write to {machine}/data, which is on no drive: it goes with the machine"
