"""The agent's whole work on real machines: open, ready, save, come back elsewhere; and when the drive will not open."""

from __future__ import annotations

import json
import re
import subprocess
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE, AgentLab, Machine, result, sentences
from tests.machines.lab import Lab
from tests.machines.test_power_cut import mounted
from xportal.sandbox.hardware import Disk

pytestmark = pytest.mark.machine

LOOP = "sh -c 'while :; do sleep 1; done'"
# For the stand-in for dnf. The lock is held until the agent has said that it is.
NO_NETWORK_TWICE = "sudo mkdir -p /etc/xportal-sandbox /var/lib/rpm; echo 2 | sudo tee /etc/xportal-sandbox/dnf-fails;"
LOCKED_UNTIL_SAID = """
until='until grep -q "transaction lock" /run/xportal/log/boot.jsonl; do sleep 0.1; done'
sudo systemd-run --quiet --unit updates flock /var/lib/rpm/.rpm.lock sh -c "$until"
until ! sudo flock --nonblock /var/lib/rpm/.rpm.lock true; do sleep 0.05; done
"""
VOLUME, SNAPSHOT = "vol-0c1", "snap-0c1"
SUMS = "docker exec train sha256sum /layer /data/file"


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> AgentLab:
    """Machines with agents."""
    return AgentLab(lab)


@dataclass(frozen=True)
class Saved:
    """A machine that has saved its drive and still has power, and what the drive holds."""

    machine: Machine
    sums: str
    save: list[dict[str, Any]]  # its log


@pytest.fixture(scope="module")
def saved(cloud: AgentLab) -> Saved:
    """A first life, on a blank drive: a container that wrote, one that was stopped, somebody who sits in the drive.

    The machine has no Docker, and installs it against all odds.
    """
    cloud.lab.hardware.create_volume(VOLUME, 4, None)
    machine = cloud.boot(VOLUME, blank=True)
    assert machine.run("command -v dockerd docker || echo none") == "none"
    machine.run(NO_NETWORK_TWICE + LOCKED_UNTIL_SAID)
    log = machine.follow("boot")
    assert result(log)["containers"] == []
    assert "Curl error (28)" in sentences(log)
    assert "can't create transaction lock" in sentences(log)
    assert machine.run("systemctl is-enabled docker.service || true") == "disabled"
    assert machine.run("docker info -f '{{.DockerRootDir}} {{.Driver}}'") == "/xportal/v1/docker overlay2"
    machine.run(MAKE_IMAGE)
    options = "--init --label xportal.gpu=auto --restart unless-stopped -v /data -v /v1:/v1"
    machine.run(f"docker run -d --name train {options} tiny {LOOP}")
    machine.run("docker run -d --name stopped --restart always tiny sleep 999; docker stop -t 0 stopped")
    for file, mib in (("/layer", 20), ("/data/file", 5), ("/v1/file", 1)):
        machine.run(f"docker exec train dd if=/dev/urandom of={file} bs=1M count={mib} status=none")
    sums = machine.run(SUMS)
    machine.run("echo mine > ~/notes; echo changed >> ~/.bashrc; echo kept > /v1/kept")
    sitting = subprocess.Popen(
        [*machine.ssh_argv(), "cd /v1; exec sleep 999"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    machine.run("until pgrep -x sleep -u ec2-user; do sleep 0.05; done")
    log = machine.save("save-1")
    sitting.wait(30)
    cloud.lab.hardware.create_snapshot(SNAPSHOT, VOLUME)
    return Saved(machine, sums, log)


@pytest.fixture
def volume(cloud: AgentLab, saved: Saved, request: pytest.FixtureRequest) -> str:
    """A new volume with what the first life has saved. Its next generation is 2."""
    name = f"vol-0c{zlib.crc32(request.node.name.encode()):08x}"
    cloud.lab.hardware.create_volume(name, 4, SNAPSHOT)
    return name


def inspect(machine: Machine, form: str, *names: str) -> list[str]:
    """`docker inspect`, a line for each name."""
    return machine.run(f"docker inspect -f '{form}' {' '.join(names)}").splitlines()


def test_a_save_ends_all_work_and_leaves_the_drive_whole(saved: Saved) -> None:
    """Containers are committed, who sits in the drive is named and ended, and the drive's own filesystem has it all."""
    machine, end = saved.machine, result(saved.save)
    assert end["faults"] == []
    assert end["committed"] == [{"container": "train", "image": "xportal/train:latest"}]
    assert "sleep 999 (pid" in sentences(saved.save)
    assert len(end["killed"]) == 1
    assert machine.status()["phase"] == "saved"
    assert result(machine.save("save-2"))["already"]
    assert "denied" in machine.fails("ls /v1")
    assert machine.run("systemctl is-enabled docker.service docker.socket || true").split() == ["masked", "masked"]
    cloud = AgentLab(machine.lab)
    assert "train" in read_from_outside(cloud, VOLUME, "cat /docker/image/overlay2/repositories.json")
    assert read_from_outside(cloud, VOLUME, "ls -p /docker/containers").count("/") > 2 * 7  # beside . and ..


def test_a_saved_machine_never_mounts_its_drive_again(saved: Saved) -> None:
    """Not when its boot command runs once more, as at a reboot, and by no `systemctl start docker`."""
    machine = saved.machine
    machine.run("sudo rm -rf /run/xportal")  # all that a reboot forgets
    assert "does not open the drive again" in machine.fails("cd /; sudo /opt/xportal/agent open")
    assert machine.status()["phase"] == "saved"
    machine.fails("sudo systemctl start docker")
    assert machine.run("grep -c /v1 /proc/mounts || true") == "0"
    machine.off()


def test_a_portal_s_lives(cloud: AgentLab, saved: Saved, volume: str) -> None:
    """After the first one a GPU; a power cut; a CPU: containers, data, home and settings each time as they were.

    The second one's image has Docker with settings of its own, which are kept, and an instance store, which nobody
    touches.
    """
    sums = saved.sums
    second = cloud.boot(volume, generation=2, gpus=1)
    came_back = result(second.follow("boot"))
    assert "A10G" in came_back["gpu"]
    assert "A10G" in second.run("docker exec train nvidia-smi -L")
    settings = json.loads(second.run("cat /etc/docker/daemon.json"))
    assert (settings["runtimes"].keys(), settings["data-root"]) == ({"nvidia"}, "/xportal/v1/docker")
    assert second.run(SUMS) == sums
    assert second.run("cat ~/notes; tail -1 ~/.bashrc").split() == ["mine", "changed"]
    assert inspect(second, "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}", "train", "stopped") == [
        "true unless-stopped",
        "false always",
    ]
    assert [drive["device"] for drive in second.status()["drives"]] == ["/dev/nvme2n1"]
    [store] = cloud.lab.hardware.disks.list_instance_stores(second.instance_id)
    assert store.stat().st_blocks == 0  # the instance store beside the drive: nothing was ever written to it
    assert second.run("grep -c nvme1n1 /proc/mounts || true") == "0"
    cloud.lab.hardware.cut_power(second.instance_id)

    third = cloud.boot(volume, generation=3)
    assert result(third.follow("boot"))["gpu"] is None
    assert third.run(SUMS) == sums
    assert inspect(third, "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}", "train", "stopped") == [
        "true unless-stopped",
        "false always",
    ]
    assert inspect(third, "{{.HostConfig.DeviceRequests}}", "train") == ["[]"]
    status = third.status()
    note = {one["name"]: one["note"] for one in status["containers"]}
    assert note == {"train": "runs without a GPU: this machine has none", "stopped": None}
    assert [drive["generation"] for drive in status["drives"]] == [3]
    third.off()


@pytest.mark.all
def test_what_mounts_something_that_is_on_no_drive_is_not_started_elsewhere(cloud: AgentLab) -> None:
    """Said while it is there, in the status and at the save; on the next machine it stays stopped, and that is said."""
    cloud.lab.hardware.create_volume("vol-0ce", 4, None)
    first = cloud.boot("vol-0ce", blank=True)
    result(first.follow("boot"))
    first.run(MAKE_IMAGE)
    first.run(
        "sudo mkdir -p /v1/on && mkdir -p ~/here /v1/later && sudo ln -s /v1/later /later &&"
        "docker volume create --opt type=none --opt o=bind --opt device=/v1/on bound > /dev/null"
    )
    binds = {
        "lost": "-v /data:/data --restart always",
        "drive": "-v /v1/on:/on -v ~/here:/here -v bound:/bound",
        "system": "-v /etc/localtime:/etc/localtime:ro -v /run/docker.sock:/run/docker.sock -v /dev:/dev",
        "later": "-v /later:/later",
    }
    for name, options in binds.items():
        first.run(f"docker run -d --init --name {name} {options} tiny {LOOP}")
    warning = "lost can write to /data, which is on no drive: it goes with the machine"
    told = {one["name"]: one["warnings"] for one in first.status()["containers"]}
    assert told == {"lost": [warning], "drive": [], "system": [], "later": []}
    log = first.save("save-1")
    assert [line["text"] for line in log if line.get("step") == "lost"] == [warning]
    first.off()

    second = cloud.boot("vol-0ce", generation=2)
    log = second.follow("boot")
    notes = {
        "lost": "is not started: /data is not there",
        "later": "is not started: /later is not there",
        "drive": None,
        "system": None,
    }
    assert {one["name"]: one["note"] for one in result(log)["containers"]} == notes
    assert "lost is not started: /data is not there" in sentences(log)
    assert {one["name"]: one["note"] for one in second.status()["containers"]} == notes
    running = {one["name"] for one in second.status()["containers"] if one["running"]}
    assert running == {"drive", "system"}
    assert second.run("test -e /data || echo none") == "none"
    second.run("sudo systemctl restart docker")
    assert inspect(second, "{{.State.Running}}", "lost") == ["false"]
    result(second.save("save-2"))
    second.off()

    third = cloud.boot("vol-0ce", generation=3)
    third.run("sudo ln -s /v1/later /later; sudo mkdir /data")
    notes["later"], notes["lost"] = None, "is not started: /data is on this machine's root disk, not on a drive"
    assert {one["name"]: one["note"] for one in result(third.follow("boot"))["containers"]} == notes
    assert inspect(third, "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}", "later", "lost") == [
        "true no",
        "false no",
    ]
    third.off()


def read_from_outside(cloud: AgentLab, volume: str, request: str) -> str:
    """What the volume's own filesystem holds, read on this computer from its file, with no machine and no mount."""
    file = cloud.lab.home / "store" / "volumes" / volume
    return subprocess.run(["debugfs", "-R", request, str(file)], capture_output=True, text=True, check=True).stdout


def test_a_drive_that_does_not_open_keeps_docker_down(cloud: AgentLab) -> None:
    """Docker does not start, not by its socket either, nothing lands on the root disk, and the log says why."""
    cloud.lab.hardware.create_volume("vol-0c2", 1, None)
    machine = cloud.boot("vol-0c2", blank=False)  # nothing is on it, and the launch does not call it new
    log = machine.follow("boot")
    assert not log[-1]["ok"]
    assert "left alone" in log[-1]["error"]
    status = machine.status()
    assert (status["phase"], status["error"]) == ("failed", log[-1]["error"])
    machine.run("sudo systemctl is-system-running --wait || true")
    machine.fails("timeout 10 sudo docker ps")
    machine.fails("sudo systemctl start docker.socket docker.service")
    assert machine.run("pgrep -x dockerd || echo none") == "none"
    assert machine.run("sudo ls -A /v1 || true") == ""
    machine.fails("touch /v1/file")
    saved = result(machine.save("save-1"))  # `down` must go through all the same
    assert saved["faults"] == []
    machine.off()


def test_an_older_docker_does_not_touch_the_drive(cloud: AgentLab, volume: str, tmp_path: Path) -> None:
    """Said in words; Docker cannot be started, files on the drive can be used, and `down` goes through."""
    with mounted(cloud.lab, volume, tmp_path / "v1") as place:
        facts = place / ".xportal" / "drive.json"
        facts.write_text(re.sub(r'"docker": ".*?"', '"docker": "99.0.1"', facts.read_text()))
        assert "99.0.1" in facts.read_text()

    machine = cloud.boot(volume, generation=2)
    error = machine.follow("boot")[-1]["error"]
    assert "Docker 99.0.1 has worked on drive demo0" in error
    assert "Docker 99 or newer" in error
    assert (machine.status()["phase"], machine.status()["error"]) == ("failed", error)
    machine.fails("sudo systemctl start docker.socket docker.service")
    assert machine.run("pgrep -x dockerd || echo none; touch ~/works") == "none"
    assert result(machine.save("save-2"))["faults"] == []
    machine.off()


def test_a_save_right_after_boot_waits_for_nothing(cloud: AgentLab, volume: str) -> None:
    """Asked before the machine is ready: the boot is left off, and the next boot starts what this one owed."""
    second = cloud.boot(volume, generation=2)
    began = time.monotonic()
    assert result(second.save("save-2", grace=2))["faults"] == []
    assert time.monotonic() - began < 60
    second.off()

    third = cloud.boot(volume, generation=3)
    states = {one["name"]: one["running"] for one in result(third.follow("boot"))["containers"]}
    assert states == {"train": True, "stopped": False}
    third.off()


def test_a_machine_that_got_no_more_than_its_core(cloud: AgentLab, volume: str) -> None:
    """`up` died after the launch: the drive and the home are there, no container runs or can; the next life has all.

    That one's save is killed in the middle: its follower is not left waiting, and asked for again it goes through.
    """
    second = cloud.boot(volume, generation=2)
    second.run("grep -q mine ~/notes; echo more > ~/notes")
    second.run("sudo systemctl is-system-running --wait || true")
    second.fails("sudo systemctl start docker.socket docker.service")
    assert second.run("pgrep -x dockerd || echo none") == "none"
    assert "xportal up brings it" in second.fails("/opt/xportal/agent status")
    second.run("cd / && sudo /opt/xportal/agent save save-2 --grace 5")
    second.run("until grep -q end /run/xportal/log/save-2.jsonl; do sleep 0.1; done")
    assert second.run("tail -n 1 /run/xportal/log/save-2.jsonl | grep -c '\"ok\": true'") == "1"
    second.off()

    third = cloud.boot(volume, generation=3)
    states = {one["name"]: one["running"] for one in result(third.follow("boot"))["containers"]}
    assert states == {"train": True, "stopped": False}
    assert third.run("docker exec train sha256sum /layer > /dev/null; cat ~/notes") == "more"
    third.run("docker exec train sh -c 'echo more > /more'")
    third.run(f"docker run -d --name deaf tiny {LOOP}")  # the shell is PID 1: it ignores SIGTERM
    third.run("cd / && sudo /opt/xportal/agent save save-3 --grace 60")
    third.run("until grep -q Asking /run/xportal/log/save-3.jsonl; do sleep 0.05; done")
    third.run("sudo systemctl kill -s KILL xportal-save@save-3")
    assert "no end" in third.fails("/opt/xportal/agent follow save-3")
    end = result(third.save("save-3", grace=1))
    assert end["faults"] == []
    assert "train" in [one["container"] for one in end["committed"]]
    third.off()


def test_a_volume_that_is_attached_after_the_boot(cloud: AgentLab, volume: str) -> None:
    """The boot does not wait for it: the machine lets people in, and opens the drive when its device appears."""
    machine = cloud.boot(volume, generation=2, attach=True, plugged=False)
    machine.deliver()
    assert machine.status()["phase"] == "opening"
    cloud.lab.hardware.attach(machine.instance_id, Disk(volume, "/dev/sdf"))
    assert result(machine.follow("boot"))["drives"][0]["volume_id"] == volume
    assert machine.status()["phase"] == "ready"
    assert machine.run("docker info > /dev/null && cat /v1/kept") == "kept"
    machine.off()
