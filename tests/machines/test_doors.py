"""The real daemon's doors: another user of this computer, a machine, a container on it, a neighbour are not let in."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.machines.lab import MAKE_IMAGE, Lab
from tests.machines.test_daemon import free_port
from xportal.errors import Refused
from xportal.sandbox import control
from xportal.sandbox.daemon import Place
from xportal.sandbox.profile import PROFILE
from xportal.sandbox.secret import Secret
from xportal.sandbox.sigv4 import sign

pytestmark = pytest.mark.machine

WITH_DOCKER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"
BODY = "Action=DescribeVolumes&Version=2016-11-15"
NOBODY = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
TOKEN = "curl -sf -m 3 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, machine_image: str) -> Iterator[Path]:
    """A home for a sandbox, and AWS files of its own."""
    home = tmp_path_factory.mktemp("doors") / "home"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_CONFIG_FILE", str(home.parent / "config"))
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.parent / "credentials"))
        yield home
        control.reset(home)


@pytest.fixture(scope="module")
def url(home: Path) -> str:
    """Where a running sandbox answers."""
    return control.start(home, free_port()).endpoint_url


@pytest.fixture(scope="module")
def secret(url: str, home: Path) -> Secret:
    """Its user's access key."""
    secret = Place(home).find_secret()
    assert secret
    return secret


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Keys and user data, without hardware."""
    keys = Lab.__new__(Lab)
    keys.home = tmp_path_factory.mktemp("keys")
    keys.make_keys()
    return keys


@pytest.fixture(scope="module")
def machines(url: str, keys: Lab) -> list[dict[str, Any]]:
    """Two machines whose IMDS gives tokens to containers too, as AWS's does with a hop limit of 2."""
    session = boto3.Session(profile_name=PROFILE)
    ec2: Any = session.client("ec2")
    ec2.import_key_pair(KeyName="test", PublicKeyMaterial=(keys.home / "login.pub").read_bytes())
    launched = ec2.run_instances(
        ImageId=session.client("ssm").get_parameter(Name=WITH_DOCKER)["Parameter"]["Value"],
        InstanceType="c5.large",
        MinCount=2,
        MaxCount=2,
        KeyName="test",
        UserData=keys.cloud_config("true"),
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    )
    ids = [instance["InstanceId"] for instance in launched["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    found = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def signed(secret: Secret, url: str) -> list[str]:
    """curl's options for a question about volumes, signed with a key."""
    headers = sign(
        secret.access_key_id,
        secret.secret_access_key,
        region="us-east-1",
        service="ec2",
        method="POST",
        host=url.removeprefix("http://"),
        path="/",
        body=BODY.encode(),
        now=datetime.now(timezone.utc),
    )
    return ["-d", BODY, *(word for name, value in headers.items() for word in ("-H", f"{name}: {value}"))]


def curl(*words: str, as_user: tuple[str, ...] = ()) -> str:
    """What curl gets on this computer: HTTP's status, then the body."""
    argv = [*as_user, "curl", "-s", "-m", "5", "-w", "%{stderr}%{http_code} ", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stderr + done.stdout


def test_another_user_of_this_computer_is_not_let_in(url: str, secret: Secret, home: Path) -> None:
    """Neither the API nor the admin routes answer them, and none of the files with the secret or the state do."""
    for words in ([], ["-d", BODY], signed(Secret("AKIA", "guess"), url)):
        assert curl(*words, f"{url}/", as_user=tuple(NOBODY)).startswith("401 "), words
    for words in (["status"], ["-X", "DELETE", "faults"], ["-d", "{}", "interrupt"], ["-d", "{}", "settings"]):
        told = curl(*words[:-1], f"{url}/_xportal/{words[-1]}", as_user=tuple(NOBODY))
        assert re.fullmatch(r'401 \{"error": "Request is missing Authentication Token"\}', told)
    files = [home.parent / "credentials", *home.iterdir()]
    assert {path.name for path in files} >= {"credentials", "secret.json", "state", "daemon.json", "store"}
    with ExitStack() as undo:
        for parent in home.parents:  # pytest's own directories would hide everything: open those on the way
            mode = parent.stat().st_mode
            undo.callback(parent.chmod, mode)
            parent.chmod(mode | 0o001)
        for path in files:
            done = subprocess.run([*NOBODY, "cat", path], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (1, ""), path
            assert "Permission denied" in done.stderr
        done = subprocess.run([*NOBODY, "cat", home.parent / "config"], capture_output=True, text=True, check=False)
        assert "Permission denied" in done.stderr
    assert curl(*signed(secret, url), f"{url}/").startswith("200 ")


def test_a_web_page_is_not_let_in(url: str, secret: Secret) -> None:
    """A foreign Host, or an Origin, is refused though the request is signed."""
    good = signed(secret, url)
    assert curl(*good, "-H", "Origin: http://evil.example", f"{url}/").startswith("403 ")
    assert curl(*signed(secret, "http://evil.example"), f"{url}/").startswith("403 ")
    assert curl("-H", "Host: evil.example", f"{url}/_xportal/status").startswith("403 ")


def test_a_machine_is_let_in_by_its_role_alone(
    url: str, secret: Secret, keys: Lab, machines: list[dict[str, Any]]
) -> None:
    """In a machine nothing unsigned is answered, the user's own key is unknown, there are no admin routes, and this
    computer's own listener is not reached. The user's secret is in no file there.
    """
    address = machines[0]["PublicIpAddress"]
    ask = "curl -s -m 5 "
    for words in ([], signed(secret, url)):
        assert "<Code>AuthFailure</Code>" in keys.ssh(address, f"{ask}{shlex.join(words)} {url}/")
    assert "instances" not in keys.ssh(address, f"{ask}{url}/_xportal/status")
    gateway = keys.ssh(address, "ip route show default").split()[2]
    assert keys.try_ssh(address, f"{ask}{url.replace('127.0.0.1', gateway)}/").returncode == 7  # refused to connect
    places = "/etc /run /var/lib /var/log /home /root /tmp /opt"
    found = keys.try_ssh(address, f"sudo grep -rsIlF {secret.secret_access_key} {places}")
    assert (found.returncode, found.stdout) == (1, "")


def test_a_container_on_a_machine_is_not_let_in(url: str, keys: Lab, machines: list[dict[str, Any]]) -> None:
    """In a network of its own it does not reach the API; in the machine's it gets what is unsigned: a refusal."""
    address, port = machines[0]["PublicIpAddress"], url.rpartition(":")[2]
    keys.ssh(address, MAKE_IMAGE)
    request = f"POST / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nContent-Length: 0\\r\\n\\r\\n"
    ask = f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"{request}\" >&3; timeout 3 cat <&3'"
    assert "refused" in keys.try_ssh(address, f"sudo docker run --rm tiny {ask}").stderr
    told = keys.try_ssh(address, f"sudo docker run --rm --network host tiny {ask}").stdout
    assert "401 UNAUTHORIZED" in told
    assert "<Code>AuthFailure</Code>" in told


def test_a_neighbour_does_not_read_a_machine_s_imds(keys: Lab, machines: list[dict[str, Any]]) -> None:
    """A machine that routes 169.254.169.254 to another gets no token there; the other's own containers still do."""
    mine, neighbour = (machine["PublicIpAddress"] for machine in machines)
    there = machines[0]["PrivateIpAddress"]
    assert keys.ssh(neighbour, TOKEN)
    route = f"sudo ip address del 169.254.169.254/32 dev lo && sudo ip route add 169.254.169.254 via {there} && "
    told = keys.try_ssh(neighbour, f"{route} ping -c 1 -W 2 169.254.169.254 > /dev/null; {TOKEN}")
    assert (told.returncode in (28, 52, 56), told.stdout) == (True, ""), told  # silence, or a cut connection
    assert keys.ssh(mine, TOKEN)
    request = "PUT /latest/api/token HTTP/1.1\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n"
    ask = f'exec 3<>/dev/tcp/169.254.169.254/80; printf "{request}" >&3; timeout 2 cat <&3'
    keys.ssh(mine, MAKE_IMAGE)
    assert "200 OK" in keys.try_ssh(mine, f"sudo docker run --rm tiny bash -c '{ask}'").stdout


def test_a_home_that_others_may_write_to_is_not_used(home: Path, url: str) -> None:
    """No command goes on, not even that which would end a process whose number stands there."""
    for path in (home, home / "state"):
        mode = path.stat().st_mode
        path.chmod(mode | 0o020)
        for command in (control.start, control.stop, control.status, control.reset, control.list_faults):
            with pytest.raises(Refused, match="others may write"):
                command(home=home)
        path.chmod(mode)
    assert control.status(home).running


def test_the_secret_stays_until_a_reset(home: Path, url: str, secret: Secret) -> None:
    """Stopped and started again the sandbox knows the same key, so that other computers' profiles go on working."""
    control.stop(home)
    control.start(home)
    assert Place(home).find_secret() == secret
    assert curl(*signed(secret, url), f"{url}/").startswith("200 ")
