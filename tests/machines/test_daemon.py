"""The sandbox as a whole, by its own commands' functions: a daemon, AWS's API, machines that come and go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.machines.lab import Lab, wait_until
from xportal.errors import NotInstalled, Refused, UsageError
from xportal.reports import SandboxReport
from xportal.sandbox import control
from xportal.sandbox.daemon import Place
from xportal.sandbox.demo.traces import find_traces
from xportal.sandbox.profile import PROFILE

pytestmark = pytest.mark.machine

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
OPEN = "blkid -p /dev/sdf || mkfs.ext4 -q /dev/sdf; mkdir -p /v1; mount /dev/sdf /v1; chmod 777 /v1"
BEFORE = "# mine\n[default]\nregion = eu-west-1\n\n# of work\n[profile work]\nregion = eu-north-1\n"


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, machine_image: str) -> Iterator[Path]:
    """A home for a sandbox, and AWS files of its own; reset afterwards, whatever happened."""
    home = tmp_path_factory.mktemp("daemon") / "home"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_CONFIG_FILE", str(home.parent / "config"))
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.parent / "credentials"))
        (home.parent / "config").write_text(BEFORE)
        yield home
        control.reset(home)


@pytest.fixture(scope="module")
def sandbox(home: Path) -> SandboxReport:
    """A sandbox that runs."""
    return control.start(home, free_port())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Keys and user data, without hardware."""
    keys = Lab.__new__(Lab)
    keys.home = tmp_path_factory.mktemp("keys")
    keys.make_keys()
    return keys


def launch(ec2: Any, keys: Lab, volume: dict[str, Any]) -> tuple[str, str]:
    """A spot machine with a drive that stays; its id and its public address."""
    image = boto3.Session(profile_name=PROFILE).client("ssm").get_parameter(Name=AL2023)
    if not ec2.describe_key_pairs()["KeyPairs"]:
        ec2.import_key_pair(KeyName="test", PublicKeyMaterial=(keys.home / "login.pub").read_bytes())
    answer = ec2.run_instances(
        ImageId=image["Parameter"]["Value"],
        InstanceType="c5.large",
        MinCount=1,
        MaxCount=1,
        KeyName="test",
        UserData=keys.cloud_config(OPEN),
        InstanceMarketOptions={"MarketType": "spot"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False, **volume}}],
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "xportal:drive", "Value": "test"}]}],
    )
    instance_id = answer["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
    told = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return instance_id, told["PublicIpAddress"]


def test_a_drive_and_a_machine_outlive_the_daemon(sandbox: SandboxReport, home: Path, keys: Lab) -> None:
    """Killed, the daemon's next self takes its machines up; stopped, its machines shut down and the drive stays."""
    ec2 = boto3.Session(profile_name=sandbox.profile).client("ec2")
    instance_id, address = launch(ec2, keys, {"VolumeSize": 2, "VolumeType": "gp3"})
    keys.ssh(address, "echo kept > /v1/note")  # not fsynced: the shutdown flushes

    os.kill(json.loads((home / "daemon.json").read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: not Place(home).is_served())
    again = control.start(home)
    assert again.endpoint_url == sandbox.endpoint_url
    assert [machine.id for machine in again.machines] == [instance_id]
    token = "curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
    assert keys.ssh(address, token)
    inside = keys.ssh(address, f"curl -s {sandbox.endpoint_url}/; curl -s {sandbox.endpoint_url}/_xportal/status")
    assert "AuthFailure" in inside  # the API answers in the machine,
    assert "instances" not in inside  # its admin routes do not

    stopped = control.stop(home)
    assert not stopped.running
    assert find_traces(home, "no such mark") == []
    started = control.start(home)
    assert started.machines == ()
    assert [(drive.drive, drive.state) for drive in started.drives] == [("test", "available")]

    snapshot = ec2.create_snapshot(VolumeId=started.drives[0].id)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    _, address = launch(ec2, keys, {"SnapshotId": snapshot, "VolumeSize": 3})
    assert keys.ssh(address, "cat /v1/note") == "kept"


def test_start_is_idempotent(sandbox: SandboxReport, home: Path) -> None:
    """Started again it says where it is; on another port it refuses."""
    said: list[str] = []
    assert control.start(home, say=said.append).endpoint_url == sandbox.endpoint_url
    assert said == ["the sandbox runs already"]
    with pytest.raises(Refused, match="runs already"):
        control.start(home, free_port())


def test_a_taken_port_is_said(home: Path, tmp_path: Path) -> None:
    """Nothing is started when somebody has the port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            control.start(tmp_path / "home", port)
    assert not (tmp_path / "home").exists()


def test_a_missing_docker_is_said(home: Path, tmp_path: Path) -> None:
    """Nothing is started when Docker does not answer."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
        with pytest.raises(NotInstalled, match="Docker Engine does not answer"):
            control.start(tmp_path / "home", free_port())
    assert not (tmp_path / "home").exists()


def test_reset_leaves_nothing(sandbox: SandboxReport, home: Path) -> None:
    """Machines, devices, mounts, control groups, files, the profile: all gone, the rest of AWS's files as before."""
    control.start(home)
    containers = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=xportal.sandbox={home}"]
    ids = subprocess.run(containers, capture_output=True, text=True, check=True).stdout.split()
    control.reset(home)
    assert subprocess.run(containers, capture_output=True, text=True, check=True).stdout == ""
    assert not home.exists()
    assert str(home) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert str(home) not in Path("/proc/mounts").read_text()
    assert [path for one in ids for path in Path("/sys/fs/cgroup").rglob(f"*{one}*")] == []
    assert (home.parent / "config").read_text() == BEFORE
    assert not (home.parent / "credentials").exists()
    control.reset(home)  # idempotent
