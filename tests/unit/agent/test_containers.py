"""Holding containers back before Docker starts, and bringing them back: Docker's files on disk, no Docker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.events import Log
from xportal.agent.core.process import AgentError, Done
from xportal.agent.full.containers import bring_back, hold_back, name_volumes, record_from_files, record_running
from xportal.agent.full.docker import Docker

ALWAYS = {"Name": "always", "MaximumRetryCount": 0}
NO = {"Name": "no", "MaximumRetryCount": 0}
VERSION = "25.0.16"
ONE = ["NVIDIA A10G (UUID: GPU-1)"]


class Drive:
    """A drive's directories, with containers as Docker leaves them there."""

    def __init__(self, root: Path) -> None:
        self.docker = root / "docker"
        self.ours = root / ".xportal"
        self.ours.mkdir()

    def put(
        self, id_: str, *, policy: dict[str, Any] = NO, labels: dict[str, str] | None = None, **state: object
    ) -> None:
        """Store a container."""
        directory = self.docker / "containers" / id_
        directory.mkdir(parents=True, exist_ok=True)
        stopped = state.pop("stopped", False)
        config = {
            "ID": id_,
            "Name": f"/{id_}",
            "Config": {"Labels": labels},
            "State": {"StartedAt": id_, **state},
            "HasBeenManuallyStopped": stopped,
            "HasBeenStartedBefore": True,
        }
        (directory / "config.v2.json").write_text(json.dumps(config))
        (directory / "hostconfig.json").write_text(json.dumps({"RestartPolicy": policy, "Memory": 7}))

    def host(self, id_: str) -> dict[str, Any]:
        """A container's hostconfig.json."""
        settings: dict[str, Any] = json.loads((self.docker / "containers" / id_ / "hostconfig.json").read_text())
        return settings

    def record(self, name: str) -> Any:
        """One of our files."""
        return json.loads((self.ours / name).read_text())

    def hold_back(self, gpus: Sequence[str] = (), version: str = VERSION) -> dict[str, str]:
        """What happens at boot."""
        return hold_back(self.docker, self.ours, version, gpus)


class FakeDocker:
    """Answers docker's command line for some containers, and notes what is asked for."""

    def __init__(self, *ids: str, broken: Sequence[str] = ()) -> None:
        self.infos: dict[str, dict[str, Any]] = {
            id_: {"Id": id_, "Name": f"/{id_}", "State": {"Running": False, "StartedAt": id_}} for id_ in ids
        }
        self.broken = set(broken)
        self.needs: dict[str, str] = {}  # who starts only while another runs
        self.argv: list[list[str]] = []

    def __call__(self, argv: Sequence[str], check: bool = True, timeout: float | None = None) -> Done:
        """Like `process.run`."""
        self.argv.append(list(argv[1:]))
        verb, last = argv[1], argv[-1]
        if verb == "ps":
            shown = [id_ for id_, info in self.infos.items() if info["State"]["Running"] or "-a" in argv]
            return Done(0, "\n".join(shown), "")
        if verb == "container":
            return Done(0, json.dumps([self.infos[id_] for id_ in argv[3:] if id_ in self.infos]), "")
        if last not in self.infos or last in self.broken:
            return Done(1, "", f"Error: {last} is\n broken")
        if verb == "start" and last in self.needs and not self.infos[self.needs[last]]["State"]["Running"]:
            return Done(1, "", "the other does not run")
        if verb == "start":
            self.infos[last]["State"]["Running"] = True
        return Done(0, last, "")

    def asked(self, verb: str) -> list[list[str]]:
        """The arguments of all calls of a verb."""
        return [argv[1:] for argv in self.argv if argv[0] == verb]


def back(drive: Drive, docker: FakeDocker, tmp_path: Path, absent: Sequence[str] = ()) -> dict[str, str]:
    """Bring containers back, of which some mount what is not there. Returns the notes."""
    for id_, info in docker.infos.items():
        gone = {"Type": "bind", "Source": "/nowhere/data", "Destination": "/x", "RW": True}
        info.update(Mounts=[gone] if id_ in absent else [])
    return bring_back(Docker(docker), drive.ours, Log(tmp_path / "log"))


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """A drive without containers."""
    return Drive(tmp_path)


def test_restart_policies_are_set_aside(drive: Drive) -> None:
    """Docker, when it starts, finds no policy and starts nothing; the rest of the settings stays."""
    drive.put("aa", policy=ALWAYS)
    drive.hold_back()
    assert drive.host("aa") == {"RestartPolicy": NO, "Memory": 7}
    assert drive.record("aside.json") == {"aa": ALWAYS}


def test_a_boot_that_broke_off_loses_no_policy(drive: Drive) -> None:
    """Held back a second time, after a power cut in between, the first record still stands."""
    drive.put("aa", policy=ALWAYS)
    drive.hold_back()
    drive.put("bb", policy=ALWAYS)
    drive.hold_back()
    assert drive.record("aside.json") == {"aa": ALWAYS, "bb": ALWAYS}


def test_after_a_power_cut_docker_s_own_files_say_what_ran(drive: Drive) -> None:
    """Without a save: what was running or would have been restarted; not what somebody stopped. In their order."""
    drive.put("c-ran", Running=True)
    drive.put("b-paused", Paused=True)
    drive.put("a-restarts", policy=ALWAYS)
    drive.put("d-stopped", policy=ALWAYS, stopped=True)
    drive.put("e-exited")
    drive.hold_back()
    assert drive.record("running.json")["running"] == ["a-restarts", "b-paused", "c-ran"]


def test_after_a_save_its_record_says_what_runs(drive: Drive) -> None:
    """The save stopped everything: its record counts, not Docker's files; at a repeated boot too."""
    drive.put("aa")
    drive.put("bb", policy=ALWAYS)
    (drive.ours / "running.json").write_text(json.dumps({"save": "s", "running": ["aa"], "failed": []}))
    drive.hold_back()
    drive.hold_back()
    assert drive.record("running.json")["running"] == ["aa"]


def test_gpu_access_follows_the_machine(drive: Drive) -> None:
    """Given where there is one, taken where there is none; said in words."""
    drive.put("aa", labels={"xportal.gpu": "auto"})
    assert drive.hold_back(gpus=ONE) == {"aa": "has the machine's GPU"}
    assert drive.host("aa")["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert drive.hold_back(gpus=[]) == {"aa": "runs without a GPU: this machine has none"}
    assert drive.host("aa")["DeviceRequests"] is None


def test_an_unknown_docker_s_files_are_not_edited(drive: Drive) -> None:
    """A Docker version that nobody has compared: hands off, and who does not fit the machine waits."""
    drive.put("aa", policy=ALWAYS, labels={"xportal.gpu": "auto"}, Running=True)
    drive.put("bb", policy=ALWAYS, Running=True)
    assert drive.hold_back(gpus=ONE, version="31.1.0") == {"aa": "waits to be made anew for this machine"}
    assert drive.host("aa") == {"RestartPolicy": ALWAYS, "Memory": 7}
    assert drive.record("running.json")["running"] == ["aa", "bb"]
    assert drive.record("aside.json") == {}
    assert drive.record("recreate.json") == ["aa"]


def test_nothing_is_edited_if_the_launch_says_so(drive: Drive) -> None:
    """The same as with an unknown Docker; a container that fits the machine waits for nothing."""
    drive.put("aa", policy=ALWAYS, labels={"xportal.gpu": "auto"}, Running=True)
    hold_back(drive.docker, drive.ours, VERSION, ONE, edit=False)
    assert drive.host("aa") == {"RestartPolicy": ALWAYS, "Memory": 7}
    assert drive.record("recreate.json") == ["aa"]
    assert hold_back(drive.docker, drive.ours, VERSION, [], edit=False) == {}


def test_what_docker_started_though_it_had_been_stopped_is_stopped_again(drive: Drive, tmp_path: Path) -> None:
    """The policy `always`, and files that are not edited."""
    drive.put("aa", policy=ALWAYS, stopped=True)
    drive.put("bb", Running=True)
    hold_back(drive.docker, drive.ours, VERSION, [], edit=False)
    docker = FakeDocker("aa", "bb")
    docker.infos["aa"]["State"]["Running"] = True
    back(drive, docker, tmp_path)
    assert docker.asked("stop") == [["aa"]]
    back(drive, docker, tmp_path)  # later on, what runs is the user's
    assert len(docker.asked("stop")) == 1


def test_what_somebody_starts_during_the_boot_runs_on(drive: Drive, tmp_path: Path) -> None:
    """New, or one that was stopped before: Docker answers before the agent has brought the others back."""
    for edit in (True, False):
        drive.put("aa", stopped=True)
        drive.put("bb", Running=True)
        (drive.ours / "running.json").write_text(json.dumps({"save": "s", "running": ["bb"], "failed": []}))
        hold_back(drive.docker, drive.ours, VERSION, [], edit=edit)
        docker = FakeDocker("aa", "bb", "new")
        for id_ in ("aa", "new"):
            docker.infos[id_]["State"]["Running"] = True
        back(drive, docker, tmp_path)
        assert docker.asked("stop") == []
        assert docker.asked("start") == [["bb"]]


def test_what_mounts_something_that_is_not_there_stays_stopped(drive: Drive, tmp_path: Path) -> None:
    """It is said why; its restart policy stays aside; a boot that finds the source starts it, with its policy."""
    drive.put("aa", policy=ALWAYS, Running=True)
    drive.put("bb", Running=True)
    for _ in range(2):
        drive.hold_back()
        docker = FakeDocker("aa", "bb")
        assert back(drive, docker, tmp_path, ["aa"]) == {"aa": "is not started: /nowhere/data is not there"}
        assert docker.asked("start") == [["bb"]]
        assert docker.asked("update") == []
        assert "aa is not started: /nowhere/data is not there" in (tmp_path / "log").read_text()
        record_running(Docker(docker), drive.ours, "s-1")
        assert drive.record("running.json")["running"] == ["aa", "bb"]
        assert drive.record("aside.json") == {"aa": ALWAYS}
    drive.hold_back()
    docker = FakeDocker("aa", "bb")
    assert back(drive, docker, tmp_path) == {}
    assert docker.asked("start") == [["aa"], ["bb"]]
    assert docker.asked("update") == [["--restart", "always", "aa"]]
    assert drive.record("aside.json") == {}


@pytest.mark.parametrize("runs", [True, False])
def test_what_somebody_started_after_all_is_theirs(drive: Drive, tmp_path: Path, runs: bool) -> None:
    """It could not be started, and was by hand: nobody touches it, and at the save it counts as what it is."""
    drive.put("aa", policy=ALWAYS, Running=True)
    drive.hold_back()
    docker = FakeDocker("aa")
    back(drive, docker, tmp_path, ["aa"])
    docker.infos["aa"]["State"].update(StartedAt="later", Running=runs)
    if runs:
        back(drive, docker, tmp_path, ["aa"])
        assert docker.asked("stop") == docker.asked("start") == []
        assert docker.asked("update") == [["--restart", "always", "aa"]]
    record_running(Docker(docker), drive.ours, "s-1")
    assert drive.record("running.json")["running"] == (["aa"] if runs else [])


def test_what_docker_started_though_its_mount_is_not_there_is_stopped(drive: Drive, tmp_path: Path) -> None:
    """Its files are not edited, so its restart policy was at work."""
    drive.put("aa", policy=ALWAYS, Running=True)
    hold_back(drive.docker, drive.ours, VERSION, [], edit=False)
    docker = FakeDocker("aa")
    docker.infos["aa"]["HostConfig"] = {"RestartPolicy": ALWAYS}
    docker.infos["aa"]["State"]["Running"] = True
    back(drive, docker, tmp_path, ["aa"])
    assert docker.asked("update") == [["--restart", "no", "aa"]]
    assert docker.asked("stop") == [["aa"]]
    assert drive.record("aside.json") == {"aa": ALWAYS}


def test_what_an_older_xportal_owed_is_owed(drive: Drive, tmp_path: Path) -> None:
    """It noted no times. After a power cut there is a boot, and perhaps a save before that starts anything."""
    drive.put("aa")
    drive.put("bb", Running=True)
    (drive.ours / "running.json").write_text(json.dumps({"save": None, "running": None, "failed": ["aa"]}))
    drive.hold_back()
    record_running(Docker(FakeDocker("aa", "bb")), drive.ours, "s-1")
    assert drive.record("running.json")["running"] == ["aa", "bb"]


def test_what_waits_is_not_started_and_not_forgotten(drive: Drive, tmp_path: Path) -> None:
    """With the core alone: the others run; a power cut or a save in between, and it is still to be started."""
    drive.put("aa", labels={"xportal.gpu": "auto"}, Running=True)
    drive.put("bb", Running=True)
    (drive.ours / "aside.json").write_text(json.dumps({"aa": ALWAYS}))
    hold_back(drive.docker, drive.ours, VERSION, ONE, edit=False)
    docker = FakeDocker("aa", "bb")
    back(drive, docker, tmp_path)
    assert docker.asked("start") == [["bb"]]
    assert docker.asked("update") == []
    assert drive.record("aside.json") == {"aa": ALWAYS}
    assert drive.record("running.json")["failed"] == {"aa": "aa"}
    record_running(Docker(docker), drive.ours, "s-1")
    assert drive.record("running.json")["running"] == ["aa", "bb"]


def test_a_container_that_cannot_be_read_is_noted(drive: Drive) -> None:
    """One broken container does not keep the others down."""
    drive.put("aa", policy=ALWAYS)
    drive.put("bb")
    (drive.docker / "containers/bb/config.v2.json").write_text("{")
    assert "cannot be read" in drive.hold_back()["bb"]
    assert drive.host("aa")["RestartPolicy"] == NO


def test_containers_come_back_with_their_policies(drive: Drive, tmp_path: Path) -> None:
    """Policies through Docker first, then the starts, in order; the records are used up."""
    drive.put("aa", policy={"Name": "on-failure", "MaximumRetryCount": 3})
    drive.put("bb", Running=True)
    drive.hold_back()
    docker = FakeDocker("aa", "bb")
    assert back(drive, docker, tmp_path) == {}
    assert docker.asked("update") == [["--restart", "on-failure:3", "aa"]]
    assert docker.asked("start") == [["bb"]]
    assert drive.record("aside.json") == {}
    assert drive.record("running.json") == {"save": None, "running": None, "failed": {}}


def test_one_that_does_not_start_does_not_stop_the_others(drive: Drive, tmp_path: Path) -> None:
    """It is noted, and the next machine tries it again."""
    for id_ in ("aa", "bb", "cc"):
        drive.put(id_, Running=True)
    drive.hold_back()
    docker = FakeDocker("aa", "bb", "cc", broken=["aa"])
    docker.needs["bb"] = "cc"
    notes = back(drive, docker, tmp_path)
    assert notes == {"aa": "did not start: Error: aa is broken"}
    assert docker.infos["bb"]["State"]["Running"]
    assert drive.record("running.json")["failed"] == {"aa": "aa"}
    docker.infos["aa"]["State"]["Error"] = "broken"
    record_running(Docker(docker), drive.ours, "s-1")
    assert sorted(drive.record("running.json")["running"]) == ["aa", "bb", "cc"]


def test_one_that_takes_too_long_to_start_does_not_stop_the_others(drive: Drive, tmp_path: Path) -> None:
    """Its image may come from a snapshot block by block: Docker goes on with it."""

    class Slow(FakeDocker):
        def __call__(self, argv: Sequence[str], check: bool = True, timeout: float | None = None) -> Done:
            if argv[1:] == ["start", "aa"]:
                assert timeout is not None
                assert timeout >= 300
                raise AgentError("docker start aa did not end within 300 s")
            return super().__call__(argv, check, timeout)

    for id_ in ("aa", "bb"):
        drive.put(id_, Running=True)
    drive.hold_back()
    docker = Slow("aa", "bb")
    assert back(drive, docker, tmp_path)["aa"].startswith("did not start: docker start")
    assert docker.infos["bb"]["State"]["Running"]


def test_a_save_before_the_start_owes_what_the_boot_owed(drive: Drive) -> None:
    """A notice seconds after boot: nothing runs yet, and the record of the save before still counts."""
    drive.put("aa", Running=True)
    drive.hold_back()
    record_running(Docker(FakeDocker("aa")), drive.ours, "s-1")
    assert drive.record("running.json")["running"] == ["aa"]


def test_a_docker_that_does_not_answer_is_no_reason_to_forget(drive: Drive, tmp_path: Path) -> None:
    """Its files, read before it is stopped, say what runs; what they say after the stop does not count any more."""
    drive.put("aa", Running=True)
    drive.hold_back()
    back(drive, FakeDocker("aa"), tmp_path)
    record_from_files(drive.docker, drive.ours)
    drive.put("aa", Running=False)
    drive.hold_back()
    assert drive.record("running.json")["running"] == ["aa"]


def test_what_the_user_stopped_stays_stopped(drive: Drive, tmp_path: Path) -> None:
    """At the save only what runs is recorded."""
    drive.put("aa", Running=True)
    drive.hold_back()
    docker = FakeDocker("aa")
    back(drive, docker, tmp_path)
    docker.infos["aa"]["State"]["Running"] = False
    record_running(Docker(docker), drive.ours, "s-1")
    assert drive.record("running.json")["running"] == []
    assert drive.record("settings.json")[0]["Id"] == "aa"


@pytest.mark.parametrize(("version", "named"), [(VERSION, "/v1/docker/volumes/models/_data"), ("99.0.1", None)])
def test_volumes_are_noted_by_the_path_that_every_xportal_has(drive: Drive, version: str, named: str | None) -> None:
    """Binds stay; where Docker is not known, its files are not touched."""
    drive.put("aa")
    file = drive.docker / "containers/aa/config.v2.json"
    ours = f"{drive.docker}/volumes/models/_data"
    config = json.loads(file.read_text())
    config["MountPoints"] = {"/models": {"Type": "volume", "Source": ours}, "/v1": {"Type": "bind", "Source": "/v1"}}
    file.write_text(json.dumps(config))
    for _ in range(2):
        name_volumes(drive.docker, "/v1/docker", version)
        config["MountPoints"]["/models"]["Source"] = named or ours
        assert json.loads(file.read_text()) == config
