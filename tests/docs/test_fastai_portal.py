"""The main job with a real training: fastai on a portal, interrupted by `down`, finished on another machine."""

from __future__ import annotations

import re

import pytest

from tests.docs.fastai import RECIPE, epochs_of
from xportal.sandbox.demo.stage import Stage

pytestmark = [pytest.mark.all, pytest.mark.machine, pytest.mark.timeout(3600)]

EPOCHS = 60  # minutes: still running when `down` comes, on a fast computer too


def test_a_fastai_training_outlives_its_machine(fastai_image: str, stage: Stage) -> None:
    """Pushed, run, interrupted by `down` in the middle, it goes on from its checkpoint on a GPU machine."""
    stage.type("xportal up demo --cpu")
    stage.type(f"xportal push demo {fastai_image}")
    stage.type(f"xportal ssh demo -- tee /v1/train.py <{RECIPE / 'train.py'} >/dev/null")
    command = f"python /v1/train.py --epochs {EPOCHS} --rows 100000"
    stage.type(f"xportal run demo --name train {fastai_image} -- {command}")
    stage.type("xportal logs -f demo train | sed '/^epoch 3\\//q'")
    [before] = stage.ask("xportal ps demo")
    stage.type("xportal down demo")
    assert stage.ask("xportal status") == []

    stage.type("xportal up demo --gpu")
    [after] = stage.ask("xportal ps demo")
    assert (after["id"], after["running"]) == (before["id"], True)
    assert not before["gpu"]
    assert after["gpu"]
    stage.type("xportal logs -f demo train | grep -m 1 -A 2 'going on after epoch'")
    first, second = stage.type("xportal logs demo train").split("going on after epoch ")
    done = int(re.findall(r"^\d+", second)[0])
    assert 3 <= done < EPOCHS, "it was interrupted in the middle"
    assert epochs_of(first) == list(range(1, done + 1))
    assert f"stopped in epoch {done + 1}, checkpoint written" in first
    assert epochs_of(second)[:2] == [done + 1, done + 2]
    stage.type("xportal down demo")
