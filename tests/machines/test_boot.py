"""Real machines: cloud-init, ssh with the pinned key, the images' software, the simulated GPU, IMDS, power off."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.machines.lab import MAKE_IMAGE, OPEN_DRIVE, Lab, wait_until
from xportal.sandbox.hardware import Addresses, Disk, Notice, loops

pytestmark = pytest.mark.machine

LABEL = "SIMULATED GPU (xportal sandbox)"
TOKEN = (
    "TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token);"
    'imds() { curl -sf -H "X-aws-ec2-metadata-token: $TOKEN" http://169.254.169.254/latest/$1; };'
)


@pytest.fixture(scope="module")
def gpu_machine(lab: Lab) -> Addresses:
    """A machine with two GPUs and a drive that Docker's data is on, `tiny` loaded."""
    lab.hardware.create_volume("vol-0a1", 4, None)
    addresses = lab.boot("i-0a1", ("vol-0a1",), gpus=2, bootcmd=OPEN_DRIVE)
    lab.ssh(addresses.public_ip, MAKE_IMAGE)
    return addresses


@pytest.fixture(scope="module")
def plain_machine(lab: Lab) -> Addresses:
    """A machine without GPUs, with a drive of its own at /v1."""
    lab.hardware.create_volume("vol-0a4", 1, None)
    return lab.boot("i-0a4", ("vol-0a4",), bootcmd="mkfs.ext4 -q /dev/sdf; mkdir /v1; mount /dev/sdf /v1")


def test_a_machine_answers_ssh_and_docker_within_seconds(
    lab: Lab, record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> None:
    """From boot to a login with the pinned host key, and to a Docker that answers: seconds, not minutes.

    The machine is plain Amazon Linux: it has no Docker, dnf installs it, and its units are disabled then. That fails
    without a network, or while somebody else installs, in dnf's own words.
    """
    start = time.monotonic()
    address = request.getfixturevalue("plain_machine").public_ip
    lab.ssh(address, "true")
    ssh_s = time.monotonic() - start
    install = "sudo dnf install -y '--setopt=*.skip_if_unavailable=0' 'docker-25.*'"
    enabled = "systemctl is-enabled docker.service docker.socket containerd.service"
    absent = "command -v dockerd docker containerd runc; getent group docker"
    told = lab.ssh(address, f"{absent}; {install} > /dev/null && {enabled}; sudo systemctl start docker")
    assert told.split() == ["disabled"] * 3
    lab.ssh(address, "sudo docker version")
    docker_s = time.monotonic() - start
    record_property("launch to ssh, s", round(ssh_s, 2))
    record_property("launch to docker, s", round(docker_s, 2))
    assert docker_s < 30
    lab.ssh(
        address, "sudo mkdir -p /etc/xportal-sandbox /var/lib/rpm; echo 1 | sudo tee /etc/xportal-sandbox/dnf-fails"
    )
    assert "Failed to download metadata" in lab.try_ssh(address, install).stderr
    locked = f"sudo flock /var/lib/rpm/.rpm.lock {install}"
    assert "can't create transaction lock" in lab.try_ssh(address, locked).stderr
    assert "Unable to find a match" in lab.try_ssh(address, "sudo dnf install -y 'docker-29.*'").stderr
    assert lab.ssh(address, "systemctl --failed --no-legend; id -u") == "1000"


def test_docker_data_is_on_the_drive(lab: Lab, gpu_machine: Addresses) -> None:
    """With the data-root on the drive Docker uses overlay2 there, and the volume's file grows."""
    told = lab.ssh(
        gpu_machine.public_ip,
        "sudo docker info --format '{{.DockerRootDir}} {{.Driver}}'; df --output=source /v1/docker",
    )
    assert told.split() == ["/v1/docker", "overlay2", "Filesystem", "/dev/nvme2n1"]
    assert lab.hardware.disks.volume_path("vol-0a1").stat().st_blocks > 0


def test_the_deep_learning_image_has_docker_and_settings_of_its_own(lab: Lab, gpu_machine: Addresses) -> None:
    """Docker is enabled at boot, daemon.json registers NVIDIA's runtime, and that one gives a container the GPU."""
    address = gpu_machine.public_ip
    assert lab.ssh(address, "systemctl is-enabled docker.service") == "enabled"
    assert json.loads(lab.ssh(address, "cat /etc/docker/daemon.json"))["runtimes"].keys() == {"nvidia"}
    told = lab.ssh(address, "sudo docker run --rm --runtime nvidia tiny nvidia-smi -L")
    assert LABEL in told


def test_an_instance_store_comes_and_goes_with_its_machine(lab: Lab, gpu_machine: Addresses) -> None:
    """It is NVMe and has the first number, an id that names no volume, no name of a drive, and no data."""
    link = "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS*"
    told = lab.ssh(gpu_machine.public_ip, f"readlink -f /dev/disk/by-id/{link}; sudo blockdev --getsize64 /dev/nvme1n1")
    assert told.split() == ["/dev/nvme1n1", str(250 * 1000**3)]
    assert lab.try_ssh(gpu_machine.public_ip, "sudo blkid -p /dev/nvme1n1").returncode == 2
    [store] = lab.hardware.disks.list_instance_stores("i-0a1")
    assert store.stat().st_blocks == 0
    lab.ssh(gpu_machine.public_ip, "sudo dd if=/dev/urandom of=/dev/nvme1n1 bs=1M count=1 oflag=direct")
    assert store.stat().st_blocks > 0
    lab.boot("i-0a8", gpus=1)
    [store] = lab.hardware.disks.list_instance_stores("i-0a8")
    lab.hardware.cut_power("i-0a8")
    assert not store.exists()
    assert loops.find(store) is None


def test_a_drive_has_the_names_of_a_nitro_machine(lab: Lab, gpu_machine: Addresses) -> None:
    """The requested name and the stable id both lead to the NVMe node."""
    told = lab.ssh(gpu_machine.public_ip, "readlink -f /dev/sdf /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0a1")
    assert told.split() == ["/dev/nvme2n1", "/dev/nvme2n1"]


def test_nested_containers_run_and_pause(lab: Lab, gpu_machine: Addresses) -> None:
    """A container on the machine runs, stands still while paused, goes on afterwards."""
    told = lab.ssh(
        gpu_machine.public_ip,
        """set -e
        sudo docker run -d --stop-timeout 1 --name clock tiny \
            bash -c 'while sleep 0.02; do date +%s%N >> /t; done' > /dev/null
        until sudo docker exec clock cat /t; do sleep 0.05; done > /dev/null 2>&1
        sudo docker pause clock > /dev/null
        file=$(sudo docker inspect --format '{{.GraphDriver.Data.MergedDir}}' clock)/t
        sudo tail -n 1 $file; sleep 0.3; sudo tail -n 1 $file
        sudo docker unpause clock > /dev/null
        sleep 0.3; sudo tail -n 1 $file""",
    )
    paused, still, later = told.split()
    assert paused == still < later


def test_containers_are_below_the_machines_own_control_group(lab: Lab, gpu_machine: Addresses) -> None:
    """Freezing the machine freezes what runs in it: a nested container's groups are below the machine's."""
    told = lab.ssh(
        gpu_machine.public_ip,
        """sudo docker run -d --stop-timeout 1 --name sleeper tiny sleep 600 > /dev/null
        cat /proc/1/cgroup
        echo --
        cat /proc/$(sudo docker inspect --format '{{.State.Pid}}' sleeper)/cgroup""",
    )
    machine, _, nested = told.partition("--")
    own = {line.split(":", 2)[1]: line.split(":", 2)[2].removesuffix("/init.scope") for line in machine.split()}
    groups = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in nested.split()}
    assert groups.keys() == own.keys()
    assert all(group.startswith(own[name]) for name, group in groups.items() if name)


@pytest.mark.parametrize(
    "command",
    [
        "nvidia-smi",
        "nvidia-smi -L",
        "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader",
        "nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>&1",
    ],
)
def test_every_output_says_that_the_gpu_is_simulated(lab: Lab, gpu_machine: Addresses, command: str) -> None:
    """On the machine and in a container that asked for GPUs, nvidia-smi tells what it is."""
    for told in (
        lab.ssh(gpu_machine.public_ip, command),
        lab.ssh(gpu_machine.public_ip, f"sudo docker run --rm --gpus all tiny sh -c '{command}' 2>&1"),
    ):
        assert LABEL in told
        assert "24576" in told or "-L" in command


def test_a_container_sees_the_gpus_it_asked_for(lab: Lab, gpu_machine: Addresses) -> None:
    """`--gpus 1` shows one, no `--gpus` shows no program at all, and nothing is copied into the layer."""
    address = gpu_machine.public_ip
    assert lab.ssh(address, "sudo docker run --name one --gpus 1 tiny nvidia-smi -L").count("\n") == 0
    assert lab.try_ssh(address, "sudo docker run --rm tiny nvidia-smi").returncode == 127
    layer = "$(sudo docker inspect --format '{{.GraphDriver.Data.UpperDir}}' one)"
    assert lab.ssh(address, f"sudo stat -c %s {layer}/usr/bin/nvidia-smi") == "0"


def test_a_machine_without_gpus_refuses_gpus(lab: Lab, plain_machine: Addresses) -> None:
    """As on AWS, Docker itself says that it has no device driver, and there is no nvidia-smi."""
    address = plain_machine.public_ip
    lab.ssh(address, "sudo dnf install -y docker && sudo systemctl start docker")
    lab.ssh(address, MAKE_IMAGE)
    refused = lab.try_ssh(address, "sudo docker run --rm --gpus all tiny true")
    assert 'could not select device driver "" with capabilities: [[gpu]]' in refused.stderr
    assert lab.try_ssh(address, "command -v nvidia-smi").returncode == 1


def test_imds_answers_in_the_machine_and_gives_containers_no_token(lab: Lab, gpu_machine: Addresses) -> None:
    """Tokens are required; with a hop limit of 1 a container on a bridge gets none."""
    address = gpu_machine.public_ip
    assert lab.ssh(address, TOKEN + "imds meta-data/instance-id") == "i-0a1"
    assert lab.try_ssh(address, "curl -sf http://169.254.169.254/latest/meta-data/").returncode == 22
    request = "PUT /latest/api/token HTTP/1.1\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n"
    ask = f'exec 3<>/dev/tcp/169.254.169.254/80; printf "{request}" >&3; timeout 2 cat <&3'
    assert "200 OK" in lab.try_ssh(address, f"bash -c '{ask}'").stdout
    assert lab.try_ssh(address, f"sudo docker run --rm tiny bash -c '{ask}'").stdout == ""


def test_a_notice_appears_in_imds(lab: Lab, gpu_machine: Addresses) -> None:
    """spot/instance-action is 404 until there is a notice."""
    ask = TOKEN + "imds meta-data/spot/instance-action"
    assert lab.try_ssh(gpu_machine.public_ip, ask).returncode == 22
    notice = Notice("terminate", datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone.utc))
    lab.api.known["i-0a1"] = replace(lab.api.known["i-0a1"], notice=notice)
    assert lab.ssh(gpu_machine.public_ip, ask) == '{"action": "terminate", "time": "2026-05-06T07:08:09Z"}'


def test_a_key_of_instance_connect_logs_in(lab: Lab, gpu_machine: Addresses, tmp_path: Path) -> None:
    """A key that no user data ever named logs in as the user it was sent for, and as no other."""
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lab.hardware.install_login_key("i-0a1", "ec2-user", Path(f"{key}.pub").read_text())
    assert lab.ssh(gpu_machine.public_ip, "id -un", key=key) == "ec2-user"
    refused = lab.try_ssh(gpu_machine.public_ip, "id -un", key=key, user="root", patience_s=0)
    assert "Permission denied" in refused.stderr


def test_a_key_of_instance_connect_ends(lab: Lab, gpu_machine: Addresses, tmp_path: Path) -> None:
    """Once its time is over the key opens nothing."""
    key = tmp_path / "late"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lab.hardware.install_login_key("i-0a1", "ec2-user", Path(f"{key}.pub").read_text())
    lab.ssh(gpu_machine.public_ip, "sudo sed -i 1s/.*/1/ /run/instance-connect/ec2-user/*")
    assert "Permission denied" in lab.try_ssh(gpu_machine.public_ip, "true", key=key, patience_s=0).stderr


def test_a_drive_is_attached_grown_and_detached(lab: Lab, gpu_machine: Addresses) -> None:
    """A second drive appears while the machine runs, grows under it, and goes."""
    address = gpu_machine.public_ip
    lab.hardware.create_volume("vol-0a9", 1, None)
    disk = Disk("vol-0a9", "/dev/sdg")
    lab.hardware.attach("i-0a1", disk)
    size = "sudo blockdev --getsize64 /dev/sdg"
    assert lab.ssh(address, size) == str(1024**3)
    lab.hardware.resize_volume("vol-0a9", 2)
    assert lab.ssh(address, size) == str(2 * 1024**3)
    lab.hardware.detach("i-0a1", disk)
    assert lab.try_ssh(address, "ls /dev/sdg /dev/nvme3n1").returncode == 2
    lab.hardware.delete_volume("vol-0a9")


def test_machines_see_only_their_own_drives(lab: Lab, gpu_machine: Addresses, plain_machine: Addresses) -> None:
    """Two machines, two drives: each has its own, its own instance store, and no other node of a disk."""
    ask = "find /dev -type b -printf '%f\\n' | sort; sudo blockdev --getsize64 /dev/sdf"
    assert lab.ssh(gpu_machine.public_ip, ask).split() == ["nvme1n1", "nvme2n1", str(4 * 1024**3)]
    assert lab.ssh(plain_machine.public_ip, ask).split() == ["nvme1n1", str(1024**3)]
    assert plain_machine.public_ip != gpu_machine.public_ip


def test_a_machine_that_shuts_itself_down_is_noticed(lab: Lab, plain_machine: Addresses) -> None:
    """The API is told, once the drive is released and the container is gone."""
    lab.try_ssh(plain_machine.public_ip, "echo kept > note; sudo mv note /v1/; sudo shutdown -h now", patience_s=0)
    wait_until(lambda: "i-0a4" in lab.api.ended)
    assert loops.find(lab.hardware.disks.volume_path("vol-0a4")) is None
    assert "i-0a4" not in lab.hardware.running()
    assert "cloud-init" in lab.hardware.console("i-0a4").lower()
