"""GPU access in a container's hostconfig.json, as the machine has it."""

from __future__ import annotations

from typing import Any

import pytest

from xportal.agent.full.gpu import ALL_GPUS, has_gpu, plan_gpu

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
