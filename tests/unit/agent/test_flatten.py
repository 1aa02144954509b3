"""Which images are made flat, with which settings; and what becomes of those before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.agent.fake_engine import FakeEngine
from xportal.agent.core.events import Log
from xportal.agent.core.files import read_json
from xportal.agent.core.process import AgentError
from xportal.agent.full.commits import Records, flatten_deep
from xportal.agent.full.flatten import MAX_HIDDEN, MAX_LAYERS, as_image, check_space, is_deep

GIB = 1 << 30
Deep = tuple[FakeEngine, str, str]  # the container's id, and its image's


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
def test_an_image_is_deep_by_its_layers_or_by_what_they_may_hide(layers: int, size: int, deep: bool) -> None:
    """Once it had one gibibyte in few layers."""
    assert is_deep({"RootFS": {"Layers": ["l"] * layers}, "Size": size}, GIB) == deep


def test_no_copy_is_begun_that_the_drive_cannot_hold(tmp_path: Path) -> None:
    """In words."""
    disk = os.statvfs(tmp_path)
    check_space(tmp_path, 0)
    with pytest.raises(AgentError, match=r"has only \d+ MiB free"):
        check_space(tmp_path, disk.f_bavail * disk.f_frsize)


def test_settings_are_the_container_s_and_what_only_images_have() -> None:
    """What the container had switched off, its entry point for instance, does not come back from the image."""
    only = {"Shell": ["/bin/sh", "-e"], "OnBuild": ["RUN x"]}
    image = {"Author": "somebody", "Config": {**only, "Entrypoint": ["e"], "Cmd": ["c"], "User": "u"}}
    own = {"Config": {"Entrypoint": None, "Cmd": ["mine"], "User": "", "Env": ["A=b"], "OnBuild": None}}
    settings = {"Entrypoint": None, "Cmd": ["mine"], "Env": ["A=b"]}
    assert as_image(own, image) == {"Author": "somebody", "Config": {**only, "User": "u", **settings}}
    assert as_image(own, None) == {"Config": settings}  # somebody has removed the image by force


@pytest.fixture
def deep(tmp_path: Path) -> Deep:
    """A container whose committed image has many layers; the drive's records of it."""
    engine = FakeEngine()
    id_ = engine.add("train", layer="data")
    image = engine.commit(id_, "xportal/train:latest", {})
    engine.images[image]["content"] = ["base"] * (MAX_LAYERS + 1)
    Records(tmp_path).put(id_, image=image)
    return engine, id_, image


def test_a_deep_image_is_made_flat_and_goes(deep: Deep, tmp_path: Path) -> None:
    """Its name moves to the flat one; no container of ours is left over."""
    engine, id_, image = deep
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    flat = Records(tmp_path).of[id_]["image"]
    assert engine.tags(flat) == ["xportal/train:latest"]
    assert engine.images[flat]["content"] == ["flat"]
    assert image not in engine.images
    assert engine.names() == ["train"]


def test_a_flattening_that_fails_changes_nothing(deep: Deep, tmp_path: Path) -> None:
    """It is said, and tried at the next boot."""
    engine, _, image = deep
    engine.refuses = "copy_flat"
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    assert engine.tags(image) == ["xportal/train:latest"]
    assert engine.names() == ["train"]
    engine.refuses = ""
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))
    assert image not in engine.images


def test_an_image_that_is_in_use_is_removed_once_it_is_not(deep: Deep, tmp_path: Path) -> None:
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


def commit(engine: FakeEngine, records: Records, name: str, layer: str = "data") -> str:
    """A container that a save has committed. Returns its id."""
    id_ = engine.add(name, layer=layer)
    made = engine.commit(id_, f"xportal/{name}:latest", {})
    records.put_name(made, f"xportal/{name}:latest")
    records.put(id_, image=made)
    return id_


def our_images(engine: FakeEngine) -> list[tuple[str, ...]]:
    """The names of all images but the one that was there before."""
    return sorted((*one["tags"],) for id_, one in engine.images.items() if id_ != "i0")


def test_the_image_of_a_container_that_was_removed_goes(tmp_path: Path) -> None:
    """Over many lives in which `train` is removed and run anew, one image is there; none once it is not run anew."""
    engine = FakeEngine()
    commit(engine, Records(tmp_path), "other")
    for life in range(3):
        train = commit(engine, Records(tmp_path), "train", f"life {life}")
        Records(tmp_path).remove_superseded(engine)
        assert our_images(engine) == [("xportal/other:latest",), ("xportal/train:latest",)]
        engine.remove(train)
    flatten_deep(engine, engine, tmp_path, Log(tmp_path / "log"))  # what a boot does in the background
    assert our_images(engine) == [("xportal/other:latest",)]
    assert list(read_json(tmp_path / "names.json").values()) == ["xportal/other:latest"]
    assert len(Records(tmp_path).of) == 1


def test_what_somebody_named_or_runs_outlives_its_container(tmp_path: Path) -> None:
    """The name that a person gave stays; so does what another container was made of, until that has gone, too."""
    engine, records = FakeEngine(), Records(tmp_path)
    for name in ("named", "used"):
        id_ = commit(engine, records, name)
        image = records.of[id_]["image"]
        if name == "named":
            engine.images[image]["tags"].append("mine:v1")
        else:
            user = engine.create("user", {"Image": "xportal/used:latest"})
        engine.remove(id_)
    records.remove_superseded(engine)
    assert our_images(engine) == [("mine:v1",), ("xportal/used:latest",)]
    engine.remove(user)
    records.remove_superseded(engine)
    assert our_images(engine) == [("mine:v1",)]


def test_a_container_that_got_another_name_leaves_no_image_under_the_old_one(tmp_path: Path) -> None:
    """Its commits bear its name; the name before was ours, too."""
    engine, records = FakeEngine(), Records(tmp_path)
    id_ = commit(engine, records, "before")
    engine.rename(id_, "after")
    records.supersede(id_)
    made = engine.commit(id_, "xportal/after:latest", {})
    records.put_name(made, "xportal/after:latest")
    records.put(id_, image=made)
    records.remove_superseded(engine)
    assert our_images(engine) == [("xportal/after:latest",)]


def test_a_container_whose_settings_are_damaged_keeps_its_image(tmp_path: Path) -> None:
    """Docker does not list it after a power cut, and what a save committed may be all that can be run of it."""
    engine, records = FakeEngine(), Records(tmp_path / ".xportal")
    id_ = commit(engine, records, "train")
    (tmp_path / "docker/containers" / id_).mkdir(parents=True)
    del engine.containers[id_]
    records.remove_superseded(engine)
    assert our_images(engine) == [("xportal/train:latest",)]
