"""GPU access in a container's hostconfig.json, as the machine has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.events import Log
from xportal.agent.full.gpu import (
    ALL_GPUS,
    ANSWER_SECONDS,
    DRIVER_SECONDS,
    has_gpu,
    link_devices,
    list_gpus,
    plan_gpu,
)
from xportal.agent.full.gpu_scopes import keep_gpus

AUTO = {"xportal.gpu": "auto"}
TWO = {**ALL_GPUS, "Count": 2}
FOREIGN = {**ALL_GPUS, "Count": 0, "DeviceIDs": ["GPU-abc"]}
OTHER = {"Driver": "x", "Count": 1, "DeviceIDs": None, "Capabilities": [["tpu"]], "Options": {}}


FUSE = {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}


def machine(count: int) -> list[str]:
    """A machine's GPUs."""
    return [f"NVIDIA A10G (UUID: GPU-{number}{number}{number})" for number in range(count)]


def host(
    *requests: dict[str, Any], runtime: str = "runc", devices: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """A hostconfig.json, in short."""
    return {"Binds": ["/v1:/v1"], "DeviceRequests": list(requests) or None, "Runtime": runtime, "Devices": devices}


def named(*ids: str) -> dict[str, Any]:
    """A request for GPUs by index or UUID."""
    return {**ALL_GPUS, "Count": 0, "DeviceIDs": list(ids)}


def cdi(*ids: str) -> dict[str, Any]:
    """A request by names of the Container Device Interface, as `docker run --device` makes it."""
    return {"Driver": "cdi", "Count": 0, "DeviceIDs": list(ids), "Capabilities": None, "Options": None}


def nodes(*names: str) -> list[dict[str, str]]:
    """Device files of the machine, as `docker run --device` asks for them."""
    return [{"PathOnHost": f"/dev/{n}", "PathInContainer": f"/dev/{n}", "CgroupPermissions": "rwm"} for n in names]


@pytest.mark.parametrize(
    ("before", "labels", "gpus", "after"),
    [
        (host(), {}, 1, host()),
        (host(), AUTO, 1, host(ALL_GPUS)),
        (host(), AUTO, 0, host()),
        (host(ALL_GPUS), AUTO, 0, host()),
        (host(ALL_GPUS), {}, 0, host()),
        (host(ALL_GPUS), {}, 4, host(ALL_GPUS)),
        (host(TWO), {}, 2, host(TWO)),
        (host(TWO), {}, 1, host(ALL_GPUS)),
        (host(FOREIGN), {}, 2, host(named("0"))),
        (host(named("GPU-abc", "GPU-def")), {}, 2, host(named("0", "1"))),
        (host(named("GPU-abc", "GPU-def")), {}, 1, host(named("0"))),
        (host(named("GPU-111")), {}, 2, host(named("GPU-111"))),
        (host(named("2")), {}, 4, host(named("2"))),
        (host(named("2")), {}, 2, host(named("0"))),
        (host(named("3")), {}, 2, host(named("1"))),
        (host(named("0", "2")), {}, 1, host(named("0"))),
        (host(named("all")), {}, 1, host(named("all"))),
        (host(named("2")), {}, 0, host()),
        (
            host({**TWO, "Capabilities": [["gpu", "utility"]]}),
            {},
            1,
            host({**TWO, "Count": -1, "Capabilities": [["gpu", "utility"]]}),
        ),
        (host(cdi("nvidia.com/gpu=all")), {}, 1, host(cdi("nvidia.com/gpu=all"))),
        (host(cdi("nvidia.com/gpu=2")), {}, 1, host(cdi("nvidia.com/gpu=0"))),
        (host(cdi("nvidia.com/gpu=GPU-abc")), {}, 1, host(cdi("nvidia.com/gpu=0"))),
        (host(cdi("nvidia.com/gpu=all")), {}, 0, host()),
        (host(cdi("vendor.com/net=nic0")), {}, 0, host(cdi("vendor.com/net=nic0"))),
        (host(devices=nodes("nvidia0", "fuse", "nvidiactl")), {}, 0, host(devices=[FUSE])),
        (host(devices=nodes("nvidia0", "nvidiactl")), {}, 0, host()),
        (host(devices=nodes("nvidia2", "nvidiactl")), {}, 1, host(devices=nodes("nvidia0", "nvidiactl"))),
        (host(devices=nodes("nvidia0", "nvidia1")), {}, 1, host(devices=nodes("nvidia0"))),
        (host(devices=nodes("nvidia0", "fuse")), {}, 1, host(devices=nodes("nvidia0", "fuse"))),
        (host(devices=[FUSE]), {}, 0, host(devices=[FUSE])),
        (host(OTHER, ALL_GPUS), {}, 0, host(OTHER)),
        (host(runtime="nvidia"), {}, 0, host()),
        (host(runtime="nvidia"), {}, 1, host(runtime="nvidia")),
    ],
)
def test_gpu_access_is_what_container_and_machine_allow(
    before: dict[str, Any], labels: dict[str, str], gpus: int, after: dict[str, Any]
) -> None:
    """Added, kept, dropped, cut down to what is there, by index, UUID, name or file; what is not about GPUs stays."""
    assert plan_gpu(before, labels, None, machine(gpus))[0] == after


@pytest.mark.parametrize(
    "asked",
    [
        host(TWO),
        host(ALL_GPUS),
        host(OTHER, named("GPU-777")),
        host(named("7", "2")),
        host(cdi("nvidia.com/gpu=7", "vendor.com/net=nic0")),
        host(runtime="nvidia", devices=[]),
        host(devices=nodes("nvidia7", "fuse", "nvidiactl", "nvidia-uvm")),
    ],
)
def test_what_was_dropped_comes_back(asked: dict[str, Any]) -> None:
    """A container that asked for GPUs by itself has them again after lives without and with fewer: the very same."""
    assert has_gpu(asked)
    without, wish = plan_gpu(asked, {}, None, [])
    assert not has_gpu(without)
    fewer, wish = plan_gpu(without, {}, wish, machine(1))
    assert has_gpu(fewer)
    again, wish = plan_gpu(fewer, {}, wish, machine(8))
    assert again == asked
    assert plan_gpu(again, {}, wish, [])[0] == without


def test_a_wish_that_an_older_xportal_noted_is_read() -> None:
    """It knew of no device files, and took an index for another machine's: all GPUs were what it gave."""
    noted = {"requests": [named("1")], "runtime": "runc"}
    assert plan_gpu(host(ALL_GPUS, devices=[FUSE]), {}, noted, machine(2))[0] == host(named("1"), devices=[FUSE])


def test_a_container_without_a_wish_is_left_alone() -> None:
    """Nothing is remembered of it, and not a key of its settings changes."""
    plain = {"Binds": None}
    assert plan_gpu(plain, {}, None, machine(8)) == (plain, None)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A machine whose PCI bus has a GPU."""
    device = tmp_path / "sys/bus/pci/devices/0000:00:1e.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    return tmp_path


def put(directory: Path, name: str, script: str) -> Path:
    """A program of the machine."""
    program = directory / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_the_driver_may_load_while_the_machine_boots(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi fails until then; where there is no card, its first word counts."""
    put(card, "nvidia-container-runtime-hook", "")
    smi = put(card, "nvidia-smi", f"echo >> {card}/asked; [ $(wc -l < {card}/asked) -gt 3 ] || exit 9\n"
                                  "echo 'GPU 0: NVIDIA A10G (UUID: GPU-1)'")  # fmt: skip
    monkeypatch.setenv("PATH", str(smi.parent), prepend=":")
    assert list_gpus(card / "elsewhere", every=0.01) == []
    assert list_gpus(card, every=0.01) == ["NVIDIA A10G (UUID: GPU-1)"]
    assert min(DRIVER_SECONDS, ANSWER_SECONDS) > 2 * 30  # for a first answer


def test_the_links_to_devices_are_made_as_nvidia_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own program, if it is there; a failure is said, and stops nothing."""
    log = Log(tmp_path / "log")
    link_devices(log)
    ctk = put(tmp_path, "nvidia-ctk", f'echo "$*" > {tmp_path}/words; echo no such command >&2; exit 1')
    monkeypatch.setenv("PATH", str(ctk.parent), prepend=":")
    link_devices(log)
    assert (tmp_path / "words").read_text() == "system create-dev-char-symlinks --create-all\n"
    [line] = (tmp_path / "log").read_text().splitlines()
    assert "no such command" in line


def test_containers_keep_their_gpus_when_units_are_read_again(tmp_path: Path) -> None:
    """Each that can lose some gets a drop-in, once; its own settings stay. Others are left alone."""
    containers = {
        "aa": host(ALL_GPUS),
        "bb": host(),
        "cc": {**host(ALL_GPUS), "Privileged": True},
        "dd": host(runtime="nvidia"),
    }
    for name, settings in containers.items():
        directory = tmp_path / "docker/containers" / name
        directory.mkdir(parents=True)
        (directory / "hostconfig.json").write_text(json.dumps(settings))
    (tmp_path / "docker/containers/ee").mkdir()
    scopes = tmp_path / "run/systemd/transient"
    scopes.mkdir(parents=True)
    assert keep_gpus(tmp_path, tmp_path / "docker") == []
    for name in (*containers, "ee", "ff"):
        (scopes / f"docker-{name}.scope").touch()
    assert keep_gpus(tmp_path, tmp_path / "docker") == ["aa", "dd"]
    assert keep_gpus(tmp_path, tmp_path / "docker") == []
    [first, second] = sorted((tmp_path / "run/systemd/system").rglob("*.conf"))
    assert first == tmp_path / "run/systemd/system/docker-aa.scope.d/60-xportal-gpu.conf"
    assert second.read_text() == "[Scope]\nDeviceAllow=char-nvidia* rwm\n"
