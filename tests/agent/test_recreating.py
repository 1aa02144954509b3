"""Containers made anew: what a new one is made with, and a power cut at every step of it."""

from contextlib import suppress

import pytest

from tests.agent.fake_engine import ALWAYS, FakeEngine, PowerCut
from xportal.agent.core.events import Log
from xportal.agent.core.files import read_json, write_json
from xportal.agent.core.process import AgentError
from xportal.agent.full.gpu import ALL_GPUS
from xportal.agent.full.recreating import make_anew, plan_container


@pytest.fixture
def drive(tmp_path):
    """The directory of our records."""
    return tmp_path


def anew(engine, drive, gpus=1):
    """What the full agent does at a boot."""
    return make_anew(engine, engine, drive, gpus, Log(drive / "log"))


def waiting(engine, drive, *names, failed=()):
    """Note that these wait to be made anew, and that these are to run."""
    ids = {name: engine.find(name)["Id"] for name in (*names, *failed)}
    write_json(drive / "recreate.json", [ids[name] for name in names])
    write_json(drive / "running.json", {"save": None, "running": None, "failed": [ids[name] for name in failed]})


def test_a_container_gains_the_gpu_and_keeps_the_rest(drive):
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


def test_one_that_was_stopped_stays_stopped(drive):
    """Nothing says that it is to run."""
    engine = FakeEngine()
    engine.add("train")
    waiting(engine, drive, "train")
    anew(engine, drive)
    assert not engine.find("train")["State"]["Running"]


def test_one_that_docker_started_is_stopped_for_it_and_started_again(drive):
    """With a restart policy that nobody could set aside."""
    engine = FakeEngine()
    engine.add("train", policy=ALWAYS, running=True)
    waiting(engine, drive, "train")
    anew(engine, drive)
    assert engine.find("train")["State"]["Running"]
    assert ("stop", "train") in engine.done


def test_one_that_would_vanish_is_left_alone(drive):
    """It runs, and Docker removes it when it ends."""
    engine = FakeEngine()
    old = engine.add("train", running=True)
    engine.find("train")["HostConfig"]["AutoRemove"] = True
    waiting(engine, drive, "train")
    assert "removed when it ends" in anew(engine, drive)[old]
    assert engine.find("train")["State"]["Running"]


def test_one_that_shares_another_s_network_follows_it(drive):
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
def test_what_cannot_be_made_anew_stays_as_it_was(drive, verb):
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
def test_a_power_cut_at_any_step_loses_nothing(tmp_path, when, changed):
    """The next boot finishes or undoes: one container of that name, all its data, its policy, its wish; it runs."""
    for step in range(1, 60):
        drive = tmp_path / f"{step}"
        engine = FakeEngine()
        engine.add("train", layer=changed, volumes={"/data": "anonymous"}, policy=ALWAYS)
        engine.find("train")["HostConfig"]["DeviceRequests"] = [{**ALL_GPUS, "Count": 2}]
        engine.boot(drive, gpus=0)
        engine.cut = (step, when)
        try:
            anew(engine, drive, gpus=0)
        except PowerCut:
            engine.boot(drive, gpus=0)
            anew(engine, drive, gpus=0)
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
        engine.boot(drive, gpus=2)
        anew(engine, drive, gpus=2)
        assert engine.find("train")["HostConfig"]["DeviceRequests"] == [{**ALL_GPUS, "Count": 2}], step
        assert len(engine.images) <= 3, step
    assert step > 8
    assert step < 59


def test_an_old_one_that_is_left_alone_gets_its_name_back(drive):
    """Somebody removed the new one by hand."""
    engine = FakeEngine()
    engine.add("train.xportal-old", layer="data", policy=ALWAYS)
    engine.boot(drive)
    anew(engine, drive)
    assert engine.names() == ["train"]
    assert engine.sees("train") == ["base", "data"]


def info(**changes):
    """What `docker inspect` says of a container, in short."""
    plain = {
        "Id": "0123456789abcdef",
        "Config": {"Image": "tiny", "Hostname": "h", "Env": ["A='b\" $c"], "ExposedPorts": {"1/tcp": {}}},
        "HostConfig": {"NetworkMode": "lan", "Binds": ["named:/n", "/v1:/v1:ro"], "Memory": 7},
        "Mounts": [],
        "NetworkSettings": {"Networks": {}},
    }
    return {**plain, **changes}


def test_volumes_are_carried_by_name():
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


def test_networks_are_carried_with_what_was_asked_for_in_them():
    """The first in the call that makes the container, the others afterwards; not the addresses that Docker gave."""
    lan = {"IPAMConfig": {"IPv4Address": "10.9.0.9"}, "Aliases": ["trainer", "0123456789ab"], "IPAddress": "10.9.0.9"}
    side = {"IPAMConfig": None, "Aliases": ["0123456789ab", "second"], "NetworkID": "n2", "IPAddress": "10.8.0.2"}
    settings = {"Networks": {"lan": lan, "side": side}}
    body, more = plan_container(info(NetworkSettings=settings), info()["HostConfig"], "image", {})
    asked = {"lan": {"IPAMConfig": {"IPv4Address": "10.9.0.9"}, "Aliases": ["trainer"]}}
    assert body["NetworkingConfig"] == {"EndpointsConfig": asked}
    assert more == {"side": {"Aliases": ["second"]}}


@pytest.mark.parametrize(("mode", "network"), [("default", "bridge"), ("host", "host"), ("n1", "lan")])
def test_the_network_a_container_is_made_in_is_not_connected_again(mode, network):
    """By whatever name it goes."""
    settings = {"Networks": {network: {"NetworkID": "n1", "Aliases": None}}}
    host = {**info()["HostConfig"], "NetworkMode": mode}
    body, more = plan_container(info(NetworkSettings=settings), host, "image", {})
    assert (body["NetworkingConfig"], more) == ({"EndpointsConfig": {}}, {})


def test_another_container_s_network_comes_without_names_of_its_own():
    """Docker shows the other's host name and refuses it."""
    host = {**info()["HostConfig"], "NetworkMode": "container:old", "Links": ["/db:/web/store"]}
    body, _ = plan_container(info(), host, "image", {"old": "new"})
    assert body["HostConfig"]["NetworkMode"] == "container:new"
    assert body["HostConfig"]["Links"] == ["db:store"]
    assert (body["Hostname"], body["ExposedPorts"]) == ("", None)


def test_settings_go_as_they_are():
    """Nothing passes through a shell or is quoted."""
    body, _ = plan_container(info(), info()["HostConfig"], "xportal/train:latest", {})
    assert body["Env"] == ["A='b\" $c"]
    assert body["Image"] == "xportal/train:latest"
    assert body["HostConfig"]["Memory"] == 7
