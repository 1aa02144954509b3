"""Settings over lives, with a real Docker Engine: all that `docker inspect` says of odd containers."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.container.odd_containers import IMAGE, ODD
from tests.container.own_engine import OwnEngine, own_engine
from xportal.agent.core.events import Log
from xportal.agent.full.commits import Commits, flatten_deep
from xportal.agent.full.containers import bring_back, hold_back
from xportal.agent.full.recreate import make_anew

pytestmark = pytest.mark.machine

TWO = ["NVIDIA A10G (UUID: GPU-1)", "NVIDIA A10G (UUID: GPU-2)"]
ASKS_FOR_GPUS = {"gpu-two", "gpu-index", "gpu-options"}
# What must be another one after containers were made anew: whose (a pattern), which field (a pattern), and why.
CHANGES = [
    (".*", r"\.Id|\.Created", "it is another container"),
    (".*", r"\.GraphDriver\.Data\..*", "with a layer of its own"),
    (
        "words|image-.*|.*entrypoint|no-health",
        r"\.Image|\.Config\.Image",
        "with an image of what the old one had written",
    ),
    ("anonymous.*|image-.*|.*entrypoint|no-health", r"\.HostConfig\.Binds", "volumes are carried by name"),
    ("mount", r"\.HostConfig\.Mounts", "volumes are carried by name"),
    ("from.*", r"\.HostConfig\.(Binds|VolumesFrom)", "the other one may be gone, or have other volumes by now"),
    ("lan", r"\.NetworkSettings\.Networks\.side\.Aliases", "Docker adds the new id"),
    ("beside", r"\.HostConfig\.(NetworkMode|PidMode)", "the other one is another container, too"),
    ("beside|privileged", r"\.Config\.Hostname", "it is not its own, and Docker does not take it"),
]


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    """A Docker Engine with an image that says all that images can say."""
    with own_engine() as engine:
        engine.build("full", IMAGE)
        yield engine


@pytest.fixture
def home(own: OwnEngine) -> Iterator[Path]:
    """A directory whose mounts may be followed."""
    home = own.home / "shared"
    (home / "in").mkdir(parents=True)
    subprocess.run(["mount", "--bind", home, home], check=True)
    subprocess.run(["mount", "--make-rshared", home], check=True)
    yield home
    subprocess.run(["umount", home], check=True)
    (home / "in").rmdir()
    home.rmdir()


@pytest.fixture
def drive(own: OwnEngine) -> Path:
    """The directory of our records, for one test."""
    path = own.home / f"records-{time.monotonic_ns()}"
    path.mkdir()
    return path


@pytest.fixture
def odd(own: OwnEngine, home: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """All of the table, and what Docker says of each."""
    own("network", "create", "--subnet", "10.9.0.0/24", "lan")
    own("network", "create", "side")
    own("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", f"device={home}/in", "bound")
    for name, (_, options) in ODD.items():
        own("create", "--name", name, "--label", "xportal.gpu=auto", *shlex.split(options.format(home=home)))
    own("network", "connect", "--alias", "second", "side", "lan")
    yield {name: own.inspect(name) for name in ODD}
    own("rm", "-f", "-v", *own("ps", "-aq").split())
    own("network", "rm", "lan", "side")
    own("volume", "prune", "-f")


def live(own: OwnEngine, drive: Path, gpus: list[str], way: str) -> dict[str, str]:
    """The life of a machine, as far as containers are concerned. Returns the notes on them, by name."""
    log = Log(own.home / "log.jsonl")
    own.stop()
    notes = hold_back(own.data_root, drive, "20.10.24", gpus, way == "edit")
    own.start()
    notes.update(bring_back(own.docker, drive, log))
    notes.update(make_anew(own.engine, own.docker, drive, gpus, log))
    infos = own.docker.inspect(own.docker.list_ids())
    return {info["Name"][1:]: notes[info["Id"]] for info in infos if notes.get(info["Id"])}


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields that differ, with their values."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key, "absent"), after.get(key, "absent"), f"{path}.{key}")
    elif before != after:
        yield path, before, after


def in_order(info: dict[str, Any]) -> dict[str, Any]:
    """What `docker inspect` says, with that in order which Docker tells in any, and no marks for SELinux.

    Docker marks what has a name with "z", and a volume that is carried by name has one.
    """
    mounts = [{**mount, "Mode": re.sub("^z$", "", mount["Mode"])} for mount in info["Mounts"]]
    for mount in mounts:
        if info["Name"].startswith("/from"):
            mount["Mode"] = ""  # says what RW and Propagation say, where these were asked for in words
    host = {**info["HostConfig"], "Links": sorted(info["HostConfig"]["Links"] or [])}
    return {**info, "Mounts": sorted(mounts, key=lambda mount: str(mount["Destination"])), "HostConfig": host}


@pytest.mark.parametrize("way", ["edit", pytest.param("anew", marks=pytest.mark.all)])
def test_everything_that_inspect_says_is_as_it_was(
    own: OwnEngine, odd: dict[str, dict[str, Any]], drive: Path, way: str
) -> None:
    """Over a life with two GPUs, one with none, one with two: all fields of all, but for what must change."""
    used = set()
    for gpus in (TWO, [], TWO):
        notes = live(own, drive, gpus, way)
        assert {note for note in notes.values() if "GPU" not in note} == set(), notes
        assert set(own("ps", "-a", "--format", "{{.Names}}").split()) == {*ODD}
        for name, before in odd.items():
            after = own.inspect(name)
            for field, was, now in differences(in_order(before), in_order(after)):
                if field == ".HostConfig.DeviceRequests" and (name in ASKS_FOR_GPUS) != bool(gpus):
                    continue  # given to those with the label, where there are GPUs, and taken from all, where not
                rule = next(
                    (rule for rule in CHANGES if re.fullmatch(rule[0], name) and re.fullmatch(rule[1], field)), None
                )
                assert way == "anew", f"{name} {field}: {was} -> {now}"
                assert rule, f"{name} {field}: {was} -> {now}"
                used.add(rule)
            sharing = before["HostConfig"]["NetworkMode"].startswith("container:")
            assert not sharing or after["HostConfig"]["NetworkMode"] == f"container:{own.inspect('plain')['Id']}"
    assert used == (set(CHANGES) if way == "anew" else set())


def test_an_image_made_of_a_container_says_what_its_image_said(own: OwnEngine, drive: Path) -> None:
    """SHELL, ONBUILD and the author, too, which Docker's own commit forgets; committed or flattened."""
    own("run", "--name", "train", "--user", "0", "full", "mkdir", "/mine")
    try:
        info, image = own.inspect("train"), own.inspect_image("full")
        log = Log(drive / "log.jsonl")
        made = Commits(own.engine, own.docker, drive, log).commit_changed([info])
        assert [one["image"] for one in made["committed"]] == ["xportal/train:latest"], made
        own("commit", "train", "by-docker")
        committed, by_docker = own.inspect_image("xportal/train"), own.inspect_image("by-docker")
        forgotten = {".Config.OnBuild", ".Config.Shell", ".Author"}
        ours = {field for field, _, _ in differences(by_docker, committed) if field.startswith((".Config", ".Author"))}
        assert ours == forgotten
        for field in ("Shell", "OnBuild"):
            assert committed["Config"][field] == image["Config"][field]
        assert committed["Author"] == image["Author"] == "somebody@example.org"

        flatten_deep(own.engine, own.docker, drive, log, most=1)
        flat = own.inspect_image("xportal/train")
        assert len(flat["RootFS"]["Layers"]) <= 2  # the files, and a commit of settings
        same = ("Config", "Author", "Architecture", "Os", "RepoTags")
        assert [flat[field] for field in same] == [committed[field] for field in same]
    finally:
        own("rm", "-f", "-v", "train")
        own("rmi", "-f", "xportal/train", "by-docker")


def test_the_image_of_a_container_that_was_removed_goes_unless_it_is_used(own: OwnEngine, drive: Path) -> None:
    """Removed and run anew in each life, it leaves one image; a container that was made of it keeps it there."""
    log = Log(drive / "log.jsonl")

    def images() -> list[str]:
        return sorted(own("images", "--format", "{{.ID}} {{.Repository}}").splitlines())

    before = images()
    try:
        for _ in range(2):
            own("run", "--name", "train", "--user", "0", "full", "mkdir", "/mine")
            Commits(own.engine, own.docker, drive, log).commit_changed([own.inspect("train")])
            assert len(images()) == len(before) + 1
            own("rm", "-v", "train")
        own("create", "--name", "user", "xportal/train")
        flatten_deep(own.engine, own.docker, drive, log)
        assert own("images", "-q", "xportal/train")
        own("rm", "-v", "user")
        flatten_deep(own.engine, own.docker, drive, log)
        assert images() == before
    finally:
        own("rm", "-f", "-v", "train", "user")


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_container_that_is_paused_for_a_commit_gets_its_signal(own: OwnEngine, drive: Path, signal: str) -> None:
    """A notice comes while Docker commits it: it is woken, asked to end, and has time to."""
    script = f'trap "echo got it; sleep 0.5; exit 3" {signal}; echo ready; while :; do sleep 0.1; done'
    own("run", "-d", "--name", "train", "--stop-signal", signal, "odd", "sh", "-c", script)
    try:
        while "ready" not in own("logs", "train"):
            time.sleep(0.05)
        own("pause", "train")
        info = own.inspect("train")
        assert info["State"]["Running"]  # so it is among those that a save asks to end
        assert own.docker.stop([info["Id"]], 10) is None
        assert "got it" in own("logs", "train")
        assert own.inspect("train")["State"]["ExitCode"] == 3
    finally:
        own("rm", "-f", "train")


@pytest.mark.parametrize("way", ["edit", "anew"])
def test_docker_itself_does_not_start_what_is_held_back(own: OwnEngine, drive: Path, way: str) -> None:
    """Its mount is not there: neither as Docker starts, for which no directory is made, nor as it starts once more.

    Where Docker's files are not edited, Docker has started it, and made the directory: it is stopped at once.
    """
    source = own.home / "gone" / "models"
    own(
        "run",
        "-d",
        "--init",
        "--name",
        "train",
        "--restart",
        "always",
        "-v",
        f"{source}:/models",
        "odd",
        "sleep",
        "999",
    )
    try:
        own.stop()
        source.rmdir()
        note = f"{source} is not there" if way == "edit" else f"{source} is on this machine's root disk, not on a drive"
        assert live(own, drive, [], way) == {"train": f"is not started: {note}"}
        assert source.exists() == (way == "anew")
        for _ in range(2):
            assert not own.inspect("train")["State"]["Running"]
            own.stop()
            own.start()
        source.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source], check=True)
        assert live(own, drive, [], way) == {}
        info = own.inspect("train")
        assert (info["State"]["Running"], info["HostConfig"]["RestartPolicy"]["Name"]) == (True, "always")
    finally:
        own("rm", "-f", "train")
        subprocess.run(["umount", source], check=True)
        source.rmdir()
