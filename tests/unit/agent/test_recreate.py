"""Containers made anew: what a new one is made with, and a power cut at every step of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.fake_engine import ALWAYS, NO, ONE, FakeEngine, PowerCut
from xportal.agent.core.events import Log
from xportal.agent.core.files import read_json, write_json
from xportal.agent.core.process import AgentError
from xportal.agent.full.commits import Records
from xportal.agent.full.flatten import scratch
from xportal.agent.full.gpu import ALL_GPUS
from xportal.agent.full.recreate import carry_mounts, make_anew, plan_container


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """The directory of our records."""
    return tmp_path


def anew(engine: FakeEngine, drive: Path, gpus: Sequence[str] = ONE) -> dict[str, str]:
    """What the full agent does at a boot."""
    return make_anew(engine, engine, drive, gpus, Log(drive / "log"))


def waiting(engine: FakeEngine, drive: Path, *names: str, failed: Sequence[str] = ()) -> None:
    """Note that these wait to be made anew, and that these are to run."""
    ids = {name: engine.find(name)["Id"] for name in (*names, *failed)}
    write_json(drive / "recreate.json", [ids[name] for name in names])
    write_json(drive / "running.json", {"save": None, "running": None, "failed": {ids[name]: None for name in failed}})


def test_a_container_gains_the_gpu_and_keeps_the_rest(drive: Path) -> None:
    """The new one has another id, the layer's data, the volumes by name, the policy; and runs. The old one has gone."""
    engine = FakeEngine()
    old = engine.add("train", layer="data", volumes={"/data": "anonymous"}, policy=ALWAYS)
    waiting(engine, drive, "train", failed=["train"])
    notes = anew(engine, drive)
    new = engine.find("train")
    assert new["Id"] != old
    assert engine.names() == ["train"]
    assert engine.sees("train") == ["base", "data"]
    assert new["HostConfig"]["DeviceRequests"] == [ALL_GPUS]
    assert new["HostConfig"]["Binds"] == ["anonymous:/data"]
    assert new["HostConfig"]["RestartPolicy"] == ALWAYS
    assert new["State"]["Running"]
    assert notes == {old: "", new["Id"]: "has the machine's GPU"}
    assert read_json(drive / "recreate.json") == []
    assert read_json(drive / "aside.json") == {}
    assert [info["Id"] for info in read_json(drive / "settings.json")] == [new["Id"]]


def test_one_that_was_stopped_stays_stopped(drive: Path) -> None:
    """Nothing says that it is to run."""
    engine = FakeEngine()
    engine.add("train")
    waiting(engine, drive, "train")
    anew(engine, drive)
    assert not engine.find("train")["State"]["Running"]


def test_one_that_docker_started_is_stopped_for_it_and_started_again(drive: Path) -> None:
    """With a restart policy that nobody could set aside."""
    engine = FakeEngine()
    engine.add("train", policy=ALWAYS, running=True)
    waiting(engine, drive, "train")
    anew(engine, drive)
    assert engine.find("train")["State"]["Running"]
    assert ("stop", "train") in engine.done


def test_one_that_would_vanish_is_left_alone(drive: Path) -> None:
    """It runs, and Docker removes it when it ends."""
    engine = FakeEngine()
    old = engine.add("train", running=True)
    engine.find("train")["HostConfig"]["AutoRemove"] = True
    waiting(engine, drive, "train")
    assert "removed when it ends" in anew(engine, drive)[old]
    assert engine.find("train")["State"]["Running"]


def test_one_that_shares_another_s_network_follows_it(drive: Path) -> None:
    """It names the other by its id, which is a new one."""
    engine = FakeEngine()
    engine.add("train")
    engine.add("side", labels={})
    engine.find("side")["HostConfig"]["NetworkMode"] = f"container:{engine.find('train')['Id']}"
    waiting(engine, drive, "train", failed=["train", "side"])
    side = engine.find("side")["Id"]
    assert anew(engine, drive)[side] == ""  # whatever was said of it before
    assert engine.find("side")["HostConfig"]["NetworkMode"] == f"container:{engine.find('train')['Id']}"
    assert engine.find("side")["State"]["Running"]


@pytest.mark.parametrize("verb", ["find_image", "commit", "create", "rename", "remove", "stop"])
def test_what_cannot_be_made_anew_stays_as_it_was(drive: Path, verb: str) -> None:
    """Docker refuses a step, again and again: said in words, nothing lost, and it runs as it did."""
    engine = FakeEngine()
    engine.add("train", layer="data", policy=ALWAYS, running=True)
    waiting(engine, drive, "train", failed=["train"])
    engine.refuses = verb
    with suppress(AgentError):  # where what is half done cannot be undone either: the next boot does
        (note,) = anew(engine, drive).values()
        assert "as it was" in note
        assert "refused" in note
    engine.refuses = ""
    engine.boot(drive)
    anew(engine, drive)
    assert engine.names() == ["train"]
    assert engine.sees("train") == ["base", "data"]
    assert engine.find("train")["State"]["Running"]
    assert engine.find("train")["HostConfig"]["RestartPolicy"] == ALWAYS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("changed", ["data", ""])
def test_a_power_cut_at_any_step_loses_nothing(tmp_path: Path, when: str, changed: str) -> None:
    """The next boot finishes or undoes: one container of that name, all its data, its policy, its wish; it runs."""
    for step in range(1, 60):
        drive = tmp_path / f"{step}"
        engine = FakeEngine()
        engine.add("train", layer=changed, volumes={"/data": "anonymous"}, policy=ALWAYS)
        engine.find("train")["HostConfig"]["DeviceRequests"] = [{**ALL_GPUS, "Count": 2}]
        engine.boot(drive, gpus=[])
        engine.cut = (step, when)
        try:
            anew(engine, drive, gpus=[])
        except PowerCut:
            engine.boot(drive, gpus=[])
            anew(engine, drive, gpus=[])
        else:
            break
        assert engine.names() == ["train"], step
        assert engine.sees("train") == ["base", *filter(None, [changed])], step
        assert engine.volumes == {"anonymous"}, step
        now = engine.find("train")
        assert now["HostConfig"]["Binds"] == ["anonymous:/data"], step
        assert now["HostConfig"]["RestartPolicy"] == ALWAYS, step
        assert now["HostConfig"]["DeviceRequests"] is None, step
        assert now["State"]["Running"], step
        assert engine.ran_together == [], step
        engine.boot(drive, gpus=ONE * 2)
        anew(engine, drive, gpus=ONE * 2)
        assert engine.find("train")["HostConfig"]["DeviceRequests"] == [{**ALL_GPUS, "Count": 2}], step
        assert len(engine.images) <= 3, step
    assert step > 8
    assert step < 59


@pytest.mark.parametrize("gone", ["new", "old"])
def test_one_that_is_left_alone_gets_its_name_back(drive: Path, gone: str) -> None:
    """The power went half way, and somebody removed the new one by hand, or the old one."""
    engine = FakeEngine()
    old = engine.add("train.xportal-old", layer="data", policy=ALWAYS)
    new = engine.add("train.xportal-new", layer="data", policy=ALWAYS)
    write_json(drive / "anew.json", {old: {"name": "train", "new": new}})
    engine.remove(new if gone == "new" else old)
    engine.boot(drive)
    anew(engine, drive)
    assert engine.names() == ["train"]
    assert engine.sees("train") == ["base", "data"]
    assert read_json(drive / "anew.json") == {}


@pytest.mark.parametrize("before", [None, {}])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", ["foo.xportal-bar", "foo.xportal-new", "foo.xportal-old", "0123456789ab.xportal-flat"])
def test_a_name_that_looks_like_ours_makes_nothing_ours(
    drive: Path, name: str, beside: bool, before: dict[str, Any] | None
) -> None:
    """Whatever users call their containers: these are there after every boot, with their data and volumes, and run."""
    engine = FakeEngine()
    engine.add(name, layer="data", volumes={"/anon": "anonymous"}, policy=ALWAYS, labels={}, running=True)
    if beside:
        engine.add(name.partition(".")[0], layer="other", labels={})
    if before is not None:
        write_json(drive / "anew.json", before)
    names = engine.names()
    for _ in range(3):
        engine.boot(drive)
        anew(engine, drive)
        assert engine.names() == names
        assert engine.sees(name) == ["base", "data"]
        assert engine.volumes == {"anonymous"}
        assert engine.find(name)["State"]["Running"]
        assert engine.find(name)["HostConfig"]["RestartPolicy"] == ALWAYS


def test_a_name_that_is_taken_is_left_to_whoever_has_it(drive: Path) -> None:
    """The container that would need it stays as it was, and it is said why."""
    engine = FakeEngine()
    old = engine.add("train", layer="data")
    engine.add("train.xportal-new", layer="mine", labels={})
    waiting(engine, drive, "train")
    assert "a container called train.xportal-new" in anew(engine, drive)[old]
    assert engine.names() == ["train", "train.xportal-new"]
    assert engine.sees("train.xportal-new") == ["base", "mine"]


class Older:
    """A drive on which an xportal that told by names alone was cut off as it made `train` anew."""

    def __init__(self, drive: Path) -> None:
        self.engine = FakeEngine()
        self.records = Records(drive)
        self.old = self.engine.add("train", layer="data", volumes={"/data": "anonymous"}, policy=NO)
        image = self.engine.commit(self.old, "xportal/train:latest", {})
        facts = self.engine.containers[self.old]["info"]
        self.records.put(self.old, image=image, base=image, flat=1000, started=facts["State"]["StartedAt"])
        host = {**facts["HostConfig"], "Binds": ["anonymous:/data"]}
        body = {"Image": "xportal/train:latest", "Labels": facts["Config"]["Labels"], "HostConfig": host}
        self.new = self.engine.create("train.xportal-new", body)


@pytest.mark.parametrize("state", ["begun", "complete", "named", "removed by hand"])
def test_what_an_older_xportal_left_half_done_is_finished(drive: Path, state: str) -> None:
    """By the names that it gave, where nothing can be lost: one container is left, with everything."""
    older = Older(drive)
    if state != "begun":
        older.engine.rename(older.old, "train.xportal-old")
    if state == "named":
        older.engine.rename(older.new, "train")
    if state == "removed by hand":
        older.engine.remove(older.new)
    older.engine.boot(drive, gpus=[])
    anew(older.engine, drive, gpus=[])
    assert older.engine.names() == ["train"]
    assert older.engine.sees("train") == ["base", "data"]
    assert older.engine.volumes == {"anonymous"}
    assert (older.engine.find("train")["Id"] == older.old) == (state in ("begun", "removed by hand"))
    assert read_json(drive / "anew.json") == {}


@pytest.mark.parametrize("lost", ["it ran since", "it ran", "it has files", "other settings", "no record"])
@pytest.mark.parametrize("named", [False, True])
def test_what_would_be_lost_with_it_is_no_half_done_one(drive: Path, lost: str, named: bool) -> None:
    """The same names, but somebody's own: nothing is removed, and nothing gets another name."""
    older = Older(drive)
    older.engine.rename(older.old, "train.xportal-old")
    if named:
        older.engine.rename(older.new, "train")
    old, new = (older.engine.containers[id_] for id_ in (older.old, older.new))
    if lost == "it ran since":
        old["info"]["State"]["StartedAt"] = "2026-01-09"
    elif lost == "it ran":
        new["info"]["State"]["StartedAt"] = "2026-01-09"
    elif lost == "it has files":
        new["layer"] = "copied"
    elif lost == "other settings":
        new["info"]["Config"]["Labels"] = {"mine": ""}
    else:
        older.records.forget(older.old)
    names = older.engine.names()
    older.engine.boot(drive, gpus=[])
    anew(older.engine, drive, gpus=[])
    assert older.engine.names() == names
    assert {older.old, older.new} <= older.engine.containers.keys()


def test_containers_that_only_served_to_make_an_image_go(drive: Path) -> None:
    """After a power cut: ours, by the note of them, and an older xportal's by what they are."""
    engine = FakeEngine()
    bare = engine.create("0123456789ab.xportal-deep", {"Image": "tiny:latest", "Cmd": ["-"]})
    engine.create("ba9876543210.xportal-flat", {"Image": "tiny:latest", "Cmd": ["sh"]})
    engine.boot(drive)
    anew(engine, drive)
    assert engine.names() == ["ba9876543210.xportal-flat"]
    assert bare not in engine.containers
    for when in ("before", "after"):
        engine.cut = (engine._steps + 1, when)
        with suppress(PowerCut), scratch(engine, drive, {"Image": "tiny:latest", "Cmd": ["-"]}):
            pass
        engine.boot(drive)
        anew(engine, drive)
        assert engine.names() == ["ba9876543210.xportal-flat"]
        assert read_json(drive / "scratch.json") == []


def info(**changes: object) -> dict[str, Any]:
    """What `docker inspect` says of a container, in short."""
    plain = {
        "Id": "0123456789abcdef",
        "Config": {"Image": "tiny", "Hostname": "h", "Env": ["A='b\" $c"], "ExposedPorts": {"1/tcp": {}}},
        "HostConfig": {"NetworkMode": "lan", "Binds": ["named:/n", "/v1:/v1:ro"], "Memory": 7},
        "Mounts": [],
        "NetworkSettings": {"Networks": {}},
    }
    return {**plain, **changes}


def test_volumes_are_carried_by_name() -> None:
    """Anonymous ones by -v and by --mount, those of another container; what has a name is not named twice."""
    mounts = [
        {"Type": "volume", "Name": "named", "Destination": "/n", "Mode": "z", "RW": True},
        {"Type": "bind", "Source": "/v1", "Destination": "/v1", "Mode": "ro", "RW": False},
        {"Type": "volume", "Name": "a1", "Destination": "/a", "Mode": "", "RW": True},
        {"Type": "volume", "Name": "a2", "Destination": "/m", "Mode": "z", "RW": True},
        {"Type": "volume", "Name": "theirs", "Destination": "/t", "Mode": "", "RW": False},
        {"Type": "tmpfs", "Source": "", "Destination": "/fast", "Mode": "", "RW": True},
    ]
    host = {**info()["HostConfig"], "VolumesFrom": ["other"], "Mounts": [{"Type": "volume", "Target": "/m"}]}
    body, _ = plan_container(info(Mounts=mounts), host, "image", {})
    assert body["HostConfig"]["Binds"] == ["named:/n", "/v1:/v1:ro", "a1:/a", "theirs:/t:ro"]
    assert body["HostConfig"]["Mounts"] == [{"Type": "volume", "Target": "/m", "Source": "a2"}]
    assert body["HostConfig"]["VolumesFrom"] is None


DATA = {"Type": "volume", "Name": "data", "Destination": "/data", "Mode": "z", "RW": True, "Propagation": ""}
V1 = {"Type": "bind", "Source": "/v1", "Destination": "/v1", "Mode": "", "RW": True, "Propagation": "rprivate"}


@pytest.mark.parametrize(
    ("asked", "mounts", "carried"),
    [
        ({"Binds": ["data:/data/"]}, [DATA], {"Binds": ["data:/data/"], "Mounts": None}),
        ({"Binds": ["data://data/./:ro"]}, [DATA], {"Binds": ["data://data/./:ro"], "Mounts": None}),
        ({"Binds": ["/data"]}, [DATA], {"Binds": ["data:/data"], "Mounts": None}),
        ({"Binds": ["/data/"]}, [DATA], {"Binds": ["data:/data/"], "Mounts": None}),
        ({}, [{**V1, "Propagation": "rslave"}], {"Binds": ["/v1:/v1:rslave"], "Mounts": None}),
        ({}, [{**V1, "RW": False}], {"Binds": ["/v1:/v1:ro"], "Mounts": None}),
        ({}, [{**V1, "Mode": "ro,rslave", "RW": False, "Propagation": "rslave"}],
         {"Binds": ["/v1:/v1:ro,rslave"], "Mounts": None}),
        ({"Mounts": [{"Type": "volume", "Target": "/data/", "VolumeOptions": {"NoCopy": True}}]}, [DATA],
         {"Binds": None, "Mounts": [
             {"Type": "volume", "Target": "/data/", "VolumeOptions": {"NoCopy": True}, "Source": "data"}]}),
    ],
)  # fmt: skip
def test_a_mount_is_carried_once_and_as_it_is(
    asked: dict[str, Any], mounts: list[dict[str, Any]], carried: dict[str, Any]
) -> None:
    """However its path is written, and from wherever it came."""
    assert carry_mounts(info(Mounts=mounts), asked) == carried


def test_networks_are_carried_with_what_was_asked_for_in_them() -> None:
    """The first in the call that makes the container, the others afterwards; not the addresses that Docker gave."""
    address = {"IPv4Address": "10.9.0.9"}
    lan = {"IPAMConfig": address, "Aliases": ["trainer", "0123456789ab"], "IPAddress": "10.9.0.9", "GwPriority": 5}
    side = {"IPAMConfig": None, "Aliases": ["0123456789ab", "second"], "NetworkID": "n2", "IPAddress": "10.8.0.2"}
    settings = {"Networks": {"lan": lan, "side": side}}
    body, more = plan_container(info(NetworkSettings=settings), info()["HostConfig"], "image", {})
    asked = {"lan": {"IPAMConfig": address, "Aliases": ["trainer"], "GwPriority": 5}}
    assert body["NetworkingConfig"] == {"EndpointsConfig": asked}
    assert more == {"side": {"Aliases": ["second"]}}


@pytest.mark.parametrize(("mode", "network"), [("default", "bridge"), ("host", "host"), ("n1", "lan")])
def test_the_network_a_container_is_made_in_is_not_connected_again(mode: str, network: str) -> None:
    """By whatever name it goes."""
    settings = {"Networks": {network: {"NetworkID": "n1", "Aliases": None}}}
    host = {**info()["HostConfig"], "NetworkMode": mode}
    body, more = plan_container(info(NetworkSettings=settings), host, "image", {})
    assert (body["NetworkingConfig"], more) == ({"EndpointsConfig": {}}, {})


def test_another_container_s_network_comes_without_names_of_its_own() -> None:
    """Docker shows the other's host name and refuses it."""
    host = {**info()["HostConfig"], "NetworkMode": "container:old", "Links": ["/db:/web/store"]}
    body, _ = plan_container(info(), host, "image", {"old": "new"})
    assert body["HostConfig"]["NetworkMode"] == "container:new"
    assert body["HostConfig"]["Links"] == ["db:store"]
    assert (body["Hostname"], body["ExposedPorts"]) == ("", None)


def test_settings_go_as_they_are() -> None:
    """Nothing passes through a shell or is quoted."""
    body, _ = plan_container(info(), info()["HostConfig"], "xportal/train:latest", {})
    assert body["Env"] == ["A='b\" $c"]
    assert body["Image"] == "xportal/train:latest"
    assert body["HostConfig"]["Memory"] == 7
