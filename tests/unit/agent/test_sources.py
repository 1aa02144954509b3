"""What containers mount from the machine: not run where it is not there, said while it is not on a drive."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.process import Done
from xportal.agent.full import sources
from xportal.agent.full.docker import Docker
from xportal.agent.full.off_drive import find_lost, find_warnings
from xportal.agent.full.sources import find_sources, leads_off


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


def volume(*, writable: bool = True, driver: str = "local") -> dict[str, Any]:
    """The same, with a volume."""
    facts = {"Type": "volume", "Name": "models", "Driver": driver, "Source": "/gone", "RW": writable}
    return {"Id": "aa", "Name": "/web", "Mounts": [facts]}


def docker(**options: str) -> Docker:
    """A Docker whose volume was made with options."""

    def run(argv: Sequence[str], *, check: bool = True, timeout: float | None = None) -> Done:
        assert argv == ["docker", "volume", "inspect", "models"]
        return Done(0, json.dumps([{"Name": "models", "Options": options or None}]), "")

    return Docker(run)


def find_absent(info: dict[str, Any], **options: str) -> str:
    """Why a container cannot be started."""
    return sources.find_absent(find_sources(docker(**options), [info])["aa"])


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
    assert find_absent(volume()) == ""
    data = str(machine / "data")
    bound = {"type": "none", "o": "bind", "device": data}
    assert "root disk" in find_absent(volume(), **bound)
    assert find_absent(volume(writable=False), **bound) == ""
    assert find_absent(volume(), **{**bound, "o": "ro,bind"}) == ""
    assert "not there" in find_absent(volume(), **{**bound, "device": f"{data}/gone"})
    assert find_absent(volume(), **{**bound, "device": str(machine / "v1")}) == ""
    assert find_absent(volume(), type="nfs", o="addr=10.9.0.1,rw", device=":/gone") == ""
    assert find_absent(volume(driver="somebody/plugin:latest")) == ""


def test_other_mounts_have_no_source() -> None:
    """--tmpfs and the like."""
    assert (
        find_absent({"Id": "aa", "Mounts": [{"Type": "tmpfs", "Source": "", "Destination": "/fast", "RW": True}]}) == ""
    )
    assert find_absent({"Id": "aa", "Mounts": None}) == ""


def test_what_goes_with_the_machine_is_named(machine: Path) -> None:
    """Directories and files of its own disks that a container can write to; not drives, memory, system paths."""
    drives = [str(machine / "v1"), str(machine / "v2")]

    def lost(info: dict[str, Any], **options: str) -> list[str]:
        found = find_lost(find_sources(docker(**options), [info])["aa"], drives)
        return [os.path.relpath(source, machine) for source in found]

    for place in ("data", "link", "file", "data/not/yet", "v2"):
        assert lost(bind(machine / place)) == [place]
    for place in ("v1", "home", "link-to-drive", "fast", "v1/not/yet"):
        assert lost(bind(machine / place)) == []
    assert lost(bind(machine / "data", writable=False)) == []
    assert lost(bind("/run/docker.sock")) == lost(bind("/")) == []
    assert lost(volume(), o="bind", device=str(machine / "data")) == ["data"]
    [text] = find_warnings(docker(), [bind(machine / "data")], [{"mount": str(machine / "v1")}])["aa"]
    assert text == f"web can write to {machine}/data, which is on no drive: it goes with the machine"


@pytest.mark.parametrize(
    ("source", "off"),
    [
        ("v1/data", False),
        ("v1/same", False),
        ("v1/same/x", False),
        ("v1/out", True),
        ("v1/out/etc", True),
        ("v1/hidden", True),
        ("v1/up", True),
        ("v1/twice", True),
        ("v1/twice/../data", True),
        ("v1/gone", True),
        ("v1/loop", False),
        ("to-drive", False),
        ("to-out", True),
        ("v1/home/me", False),
    ],
)
def test_no_link_of_a_container_leads_another_one_off_the_drive(tmp_path: Path, source: str, off: bool) -> None:
    """On the way to a bind's source. Links of the machine count as nobody's, and those in covers as root's."""
    drive = tmp_path / "v1"
    (drive / "data").mkdir(parents=True)
    (drive / "home").mkdir()
    links = {
        "same": "data",
        "out": "/",
        "hidden": "home",
        "up": "../x",
        "twice": "out",
        "gone": "/gone",
        "loop": "loop",
    }
    for name, target in links.items():
        (drive / name).symlink_to(target)
    (drive / "home/me").symlink_to("/root")
    (tmp_path / "to-drive").symlink_to(drive / "data")
    (tmp_path / "to-out").symlink_to(drive / "out")
    assert leads_off(str(tmp_path / source), [str(drive)]) == off
