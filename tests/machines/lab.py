"""A lab for real machines without the API: what it would say is said by hand."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from socket import create_connection, socket

from xportal.sandbox.hardware import Addresses, Boot, Disk, Metadata, Software
from xportal.sandbox.hardware.docker import Engine
from xportal.sandbox.hardware.machines import RealHardware

# Opens the drive as the agent does, in few words: mkfs if blank, mount, Docker's data on it.
OPEN_DRIVE = """\
set -e
blkid -p /dev/sdf || mkfs.ext4 -q /dev/sdf
mkdir -p /v1 /etc/docker
mount /dev/sdf /v1
mkdir -p /v1/docker
dnf install -y docker > /dev/null
settings=/etc/docker/daemon.json
[ -e $settings ] || echo '{"features": {}}' > $settings
sed -i '1s|{|{"data-root": "/v1/docker",|' $settings
systemctl start --no-block docker
"""

# An image of the machine's own shell and a few programs: there is no registry.
MAKE_IMAGE = """\
set -e
cd /
tar -c bin lib lib64 usr/bin/sh usr/bin/dash usr/bin/bash usr/bin/sleep usr/bin/cat usr/bin/date usr/bin/timeout \\
    usr/lib64 usr/lib/*-linux-gnu/ld-linux* usr/lib/*-linux-gnu/libc.so.6 usr/lib/*-linux-gnu/libtinfo.so* \\
    | sudo docker import - tiny
"""


def metadata(**changes: object) -> Metadata:
    """What IMDS says to some machine, with changes."""
    plain = Metadata(
        instance_id="i-0000",
        instance_type="c5.large",
        image_id="ami-0001",
        architecture="x86_64",
        region="us-east-1",
        availability_zone="us-east-1b",
        account_id="123456789012",
        reservation_id="r-0001",
        launch_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        market="spot",
        public_ip="127.77.0.9",
        private_ip="172.17.0.9",
        public_hostname="ec2-127-77-0-9.compute-1.amazonaws.com",
        private_hostname="ip-172-17-0-9.ec2.internal",
        mac="02:42:ac:11:00:09",
        vpc_id="vpc-0001",
        subnet_id="subnet-0001",
        security_groups=("xportal",),
        key_name="login",
        public_key="ssh-ed25519 AAAA login",
        user_data=None,
        mapping={"ami": "/dev/xvda", "root": "/dev/xvda", "ebs1": "/dev/sdf"},
        tags={},
        http_endpoint="enabled",
        http_tokens="required",
        hop_limit=1,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def plan_boot(instance_id: str, disks: tuple[Disk, ...], gpus: int) -> Boot:
    """Plain Amazon Linux on a CPU machine, or the Deep Learning image on a GPU one, which has an instance store too."""
    plain = Boot(instance_id, "c5.large", "ami-0001", "x86_64", vcpus=2, memory_mib=4096, disks=disks)
    if not gpus:
        return plain
    return replace(
        plain,
        gpu_count=gpus,
        gpu_name="NVIDIA A10G",
        gpu_memory_mib=24576,
        software=Software.DEEP_LEARNING,
        instance_store_gb=(250,),
    )


@dataclass
class HandMadeApi:
    """The seam's `Api` as a test says it; `ended` lists the machines that powered themselves off."""

    known: dict[str, Metadata] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    port: int = 6599

    def metadata(self, instance_id: str) -> Metadata:
        return self.known[instance_id]

    def powered_off(self, instance_id: str) -> None:
        self.ended.append(instance_id)

    def serve(self, listener: socket) -> socket:
        return listener.dup()


@dataclass
class Lab:
    """Hardware in a home of its own, and keys for its machines."""

    home: Path
    image: str
    api: HandMadeApi = field(default_factory=HandMadeApi)

    def __post_init__(self) -> None:
        self.make_keys()
        self.engine = Engine.connect()
        self.hardware = RealHardware(self.home, self.image, self.engine)
        self.hardware.connect(self.api)

    def close(self) -> None:
        """Switch everything off."""
        self.hardware.close(20.0)
        self.engine.close()

    def make_keys(self) -> None:
        """A login key and a host key."""
        for name in ("login", "host"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.home / name)]
            subprocess.run(argv, check=True)

    def boot(self, instance_id: str, volumes: tuple[str, ...] = (), gpus: int = 0, bootcmd: str = "") -> Addresses:
        """Switch a machine on; drives from /dev/sdf on."""
        public_key = (self.home / "login.pub").read_text().strip()
        user_data = self.cloud_config(bootcmd).encode()
        self.api.known[instance_id] = metadata(instance_id=instance_id, public_key=public_key, user_data=user_data)
        disks = tuple(Disk(volume_id, f"/dev/sd{letter}") for volume_id, letter in zip(volumes, "fghij", strict=False))
        return self.hardware.boot(plan_boot(instance_id, disks, gpus))

    def cloud_config(self, bootcmd: str) -> str:
        """User data with the pinned host key and one command of every boot. JSON is YAML."""
        keys = {"ed25519_private": (self.home / "host").read_text(), "ed25519_public": self.host_key}
        return "#cloud-config\n" + json.dumps({"ssh_keys": keys, "bootcmd": [["sh", "-c", bootcmd or "true"]]})

    @property
    def host_key(self) -> str:
        return " ".join((self.home / "host.pub").read_text().split()[:2])

    def ssh(self, address: str, script: str, *, key: Path | None = None, user: str = "ec2-user") -> str:
        """What a script prints on the machine, once the machine answers. AssertionError when it fails."""
        done = self.try_ssh(address, script, key=key, user=user)
        assert done.returncode == 0, f"{script}\n-> {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def try_ssh(
        self, address: str, script: str, *, key: Path | None = None, user: str = "ec2-user", patience_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a script on the machine, retrying while it cannot be reached."""
        argv = self.ssh_argv(address, script, key=key, user=user)
        deadline = time.monotonic() + patience_s
        while True:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode != 255 or time.monotonic() > deadline:
                return done
            time.sleep(0.2)
            while not greets(address) and time.monotonic() < deadline:
                time.sleep(0.1)

    def ssh_argv(self, address: str, script: str, *, key: Path | None = None, user: str = "ec2-user") -> list[str]:
        """The command that runs a script on the machine, its host key pinned."""
        known_hosts = self.home / "known_hosts"
        known_hosts.write_text(f"{address} {self.host_key}\n")
        options = [
            f"UserKnownHostsFile={known_hosts}",
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=2",
            "BatchMode=yes",
        ]
        argv = ["ssh", "-i", str(key or self.home / "login"), "-F", "none", "-o", "IdentitiesOnly=yes"]
        argv += [word for option in options for word in ("-o", option)]
        return [*argv, f"{user}@{address}", script]


def greets(address: str) -> bool:
    """Whether an sshd answers there: to ask takes a hundredth of the processor time that ssh takes to fail."""
    try:
        with create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    """Return once the condition holds; AssertionError at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
