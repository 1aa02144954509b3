"""Which images are made flat, with which settings; and what becomes of those before."""

import os

import pytest

from tests.agent.fake_engine import FakeEngine
from xportal.agent.core.events import Log
from xportal.agent.core.process import AgentError
from xportal.agent.full.commits import Records, flatten_deep
from xportal.agent.full.flattening import MAX_HIDDEN, MAX_LAYERS, as_image, check_space, is_deep

GIB = 1 << 30


@pytest.mark.parametrize(
    ("layers", "size", "deep"),
    [
        (1, GIB, False),
        (MAX_LAYERS, GIB, False),
        (MAX_LAYERS + 1, GIB, True),
        (2, 2 * GIB + MAX_HIDDEN, False),
        (2, 2 * GIB + MAX_HIDDEN + 1, True),
    ],
)
def test_an_image_is_deep_by_its_layers_or_by_what_they_may_hide(layers, size, deep):
    """Once it had one gibibyte in few layers."""
    assert is_deep({"RootFS": {"Layers": ["l"] * layers}, "Size": size}, GIB) == deep


def test_no_copy_is_begun_that_the_drive_cannot_hold(tmp_path):
    """In words."""
    disk = os.statvfs(tmp_path)
    check_space(tmp_path, 0)
    with pytest.raises(AgentError, match=r"has only \d+ MiB free"):
        check_space(tmp_path, disk.f_bavail * disk.f_frsize)


def test_settings_are_the_container_s_and_what_only_images_have():
    """What the container had switched off, its entry point for instance, does not come back from the image."""
    only = {"Shell": ["/bin/sh", "-e"], "OnBuild": ["RUN x"]}
    image = {"Author": "somebody", "Config": {**only, "Entrypoint": ["e"], "Cmd": ["c"], "User": "u"}}
    own = {"Config": {"Entrypoint": None, "Cmd": ["mine"], "User": "", "Env": ["A=b"], "OnBuild": None}}
    settings = {"Entrypoint": None, "Cmd": ["mine"], "Env": ["A=b"]}
    assert as_image(own, image) == {"Author": "somebody", "Config": {**only, "User": "u", **settings}}
    assert as_image(own, None) == {"Config": settings}  # somebody has removed the image by force


@pytest.fixture
def deep(tmp_path):
    """A container whose committed image has many layers; the drive's records of it."""
    engine = FakeEngine()
    id_ = engine.add("train", layer="data")
    image = engine.commit(id_, "xportal/train:latest", {})
    engine.images[image]["content"] = ["base"] * (MAX_LAYERS + 1)
    Records(tmp_path).put(id_, image=image)
    return engine, id_, image


def test_a_deep_image_is_made_flat_and_goes(deep, tmp_path):
    """Its name moves to the flat one; no container of ours is left over."""
    engine, id_, image = deep
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    flat = Records(tmp_path).of[id_]["image"]
    assert engine.tags(flat) == ["xportal/train:latest"]
    assert engine.images[flat]["content"] == ["flat"]
    assert image not in engine.images
    assert engine.names() == ["train"]


def test_a_flattening_that_fails_changes_nothing(deep, tmp_path):
    """It is said, and tried at the next boot."""
    engine, _, image = deep
    engine.refuses = "copy_flat"
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    assert engine.tags(image) == ["xportal/train:latest"]
    assert engine.names() == ["train"]
    engine.refuses = ""
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    assert image not in engine.images


def test_an_image_that_is_in_use_is_removed_once_it_is_not(deep, tmp_path):
    """Until then it is remembered."""
    engine, id_, image = deep
    engine.find("train")["Image"] = image
    records = Records(tmp_path)
    records.supersede(id_)
    engine.images[image]["tags"] = []
    records.put(id_, image="i0")
    records.remove_superseded(engine)
    assert image in engine.images
    engine.find("train")["Image"] = "i0"
    records.remove_superseded(engine)
    assert image not in engine.images
