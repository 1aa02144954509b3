"""GPU access in a container's hostconfig.json, as the machine has it."""

import pytest

from xportal.agent.full.gpu import ALL_GPUS, has_gpu, plan_gpu

AUTO = {"xportal.gpu": "auto"}
TWO = {**ALL_GPUS, "Count": 2}
NAMED = {**ALL_GPUS, "Count": 0, "DeviceIDs": ["GPU-123"]}
OTHER = {"Driver": "x", "Count": 1, "DeviceIDs": None, "Capabilities": [["tpu"]], "Options": {}}


def host(*requests, runtime="runc"):
    """A hostconfig.json, in short."""
    return {"Binds": ["/v1:/v1"], "DeviceRequests": list(requests) or None, "Runtime": runtime}


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
        (host(NAMED), {}, 1, host(ALL_GPUS)),
        (host(OTHER, ALL_GPUS), {}, 0, host(OTHER)),
        (host(runtime="nvidia"), {}, 0, host()),
        (host(runtime="nvidia"), {}, 1, host(runtime="nvidia")),
    ],
)
def test_gpu_access_is_what_container_and_machine_allow(before, labels, gpus, after):
    """Added, kept, dropped, cut down to what is there; what is not about GPUs stays."""
    assert plan_gpu(before, labels, None, gpus)[0] == after


@pytest.mark.parametrize("asked", [host(TWO), host(ALL_GPUS), host(NAMED, OTHER), host(runtime="nvidia")])
def test_what_was_dropped_comes_back(asked):
    """A container that asked for GPUs by itself has the wish again after a life without one."""
    without, wish = plan_gpu(asked, {}, None, 0)
    assert not has_gpu(without)
    again, _ = plan_gpu(without, {}, wish, 8)
    assert has_gpu(again)
    assert plan_gpu(again, {}, wish, 0)[0] == without


def test_a_container_without_a_wish_is_left_alone():
    """Nothing is remembered of it, and not a key of its settings changes."""
    plain = {"Binds": None}
    assert plan_gpu(plain, {}, None, 8) == (plain, None)
