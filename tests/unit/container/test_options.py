"""`xportal run`'s options as the Engine API's payload; no Docker needed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from xportal.container.options import (
    RunOptions,
    create_payload,
    env_file,
    nano_cpus,
    port_bindings,
    since_when,
    split_mounts,
)
from xportal.errors import UsageError

DURABLE = ("/v1", "/home/ec2-user")
GPUS = [{"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}]


def payload(gpu: bool = False, environ: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    return create_payload(RunOptions("image", **options), gpu=gpu, durable=DURABLE, environ=environ or {})


def test_plain_run() -> None:
    """Without options a container has init, our label, and nothing that Docker would not choose itself."""
    assert payload() == {
        "Image": "image",
        "Env": [],
        "Labels": {"xportal.gpu": "auto"},
        "ExposedPorts": {},
        "Volumes": {},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "AttachStdin": False,
        "HostConfig": {"PortBindings": {}, "Binds": ["/v1:/v1"], "Ulimits": [], "AutoRemove": False, "Init": True},
    }


def test_every_option() -> None:
    """Each option stands where the Engine API has it."""
    made = payload(
        gpu=True,
        environ={"TOKEN": "t", "PATH": "p"},
        command=("python", "-c", "x y"),
        env=("A=1", "B=", "C=x=y", "TOKEN", "UNSET"),
        ports=("8888:8888",),
        mounts=("/v1/data:/data:ro", "cache:/cache", "/scratch"),
        workdir="/w",
        user="1000:1000",
        shm_size="8g",
        ipc="host",
        ulimits=("memlock=-1", "nofile=1024:4096"),
        memory="512m",
        entrypoint="/bin/tool",
        restart="on-failure:3",
        network="host",
        labels=("a=b", "c"),
        init=False,
        interactive=True,
        tty=True,
    )
    host_config = made.pop("HostConfig")
    assert made == {
        "Image": "image",
        "Cmd": ["python", "-c", "x y"],
        "Entrypoint": ["/bin/tool"],
        "Env": ["A=1", "B=", "C=x=y", "TOKEN=t"],
        "WorkingDir": "/w",
        "User": "1000:1000",
        "Labels": {"a": "b", "c": "", "xportal.gpu": "auto"},
        "ExposedPorts": {"8888/tcp": {}},
        "Volumes": {"/scratch": {}},
        "Tty": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
    }
    assert host_config == {
        "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8888"}]},
        "Binds": ["/v1:/v1", "/v1/data:/data:ro", "cache:/cache"],
        "ShmSize": 8 << 30,
        "Memory": 512 << 20,
        "IpcMode": "host",
        "Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}, {"Name": "nofile", "Soft": 1024, "Hard": 4096}],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "NetworkMode": "host",
        "AutoRemove": False,
        "Init": False,
        "DeviceRequests": GPUS,
    }


@pytest.mark.parametrize("mount", ["/v1/mine:/v1", "data:/v1:ro", "/v1"])
def test_users_mount_wins_over_the_drive(mount: str) -> None:
    """The drive is at /v1 in every container, unless the user mounts something else there."""
    binds = payload(mounts=(mount,))["HostConfig"]["Binds"]
    assert binds == ([mount] if ":" in mount else [])


@pytest.mark.parametrize(
    ("machine", "wanted", "requests", "label"),
    [(True, True, GPUS, "auto"), (False, True, None, "auto"), (True, False, None, "none")],
)
def test_gpu_follows_machine_and_wish(machine: bool, wanted: bool, requests: Any, label: str) -> None:
    """GPUs are requested if the machine has them and the user did not say no; the label keeps the wish."""
    made = create_payload(RunOptions("image", gpu=wanted), gpu=machine, durable=DURABLE, environ={})
    assert made["HostConfig"].get("DeviceRequests") == requests
    assert made["Labels"] == {"xportal.gpu": label}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8888:8888", {"8888/tcp": [("127.0.0.1", "8888")]}),
        ("80:8080", {"8080/tcp": [("127.0.0.1", "80")]}),
        ("8080", {"8080/tcp": [("127.0.0.1", "")]}),
        ("127.0.0.1:80:8080", {"8080/tcp": [("127.0.0.1", "80")]}),
        ("127.0.0.1::8080", {"8080/tcp": [("127.0.0.1", "")]}),
        ("localhost:80:8080", {"8080/tcp": [("127.0.0.1", "80")]}),
        ("53:53/udp", {"53/udp": [("127.0.0.1", "53")]}),
        ("70-71:80-81", {"80/tcp": [("127.0.0.1", "70")], "81/tcp": [("127.0.0.1", "71")]}),
    ],
)
def test_ports_are_bound_to_loopback(text: str, expected: dict[str, list[tuple[str, str]]]) -> None:
    """Whatever form of -p is used, the port is bound to the machine's loopback alone."""
    bound = {port: [(at["HostIp"], at["HostPort"]) for at in ats] for port, ats in port_bindings([text]).items()}
    assert bound == expected


@pytest.mark.parametrize("text", ["0.0.0.0:80:80", "10.0.0.5:80:80", "[::]:80:80", "0.0.0.0::80"])
def test_open_ports_are_refused(text: str) -> None:
    """An address that other computers can reach is refused in words."""
    with pytest.raises(UsageError, match="loopback"):
        port_bindings([text])


@pytest.mark.parametrize("text", ["", "http", "80:http", "70-72:80-81", "80/xyz"])
def test_senseless_ports_are_refused(text: str) -> None:
    """What Docker would not understand is refused before it is asked."""
    with pytest.raises(UsageError, match="makes no sense"):
        port_bindings([text])


@pytest.mark.parametrize(
    "text", ["/v1:/d", "/v1/a b:/d", "/home/ec2-user/x:/d:ro", "data:/d", "/v1/x/../y:/d", "my.vol-1:/d:ro"]
)
def test_mounts_that_survive(text: str) -> None:
    """Directories on the drive, the home on it, and named volumes are passed on."""
    binds, anonymous = split_mounts([text], DURABLE)
    assert binds == [text.replace("/x/../y", "/y")]
    assert anonymous == []


@pytest.mark.parametrize(
    "text",
    ["/tmp:/d", "/v10:/d", "/v1/../etc:/d", "/home/me/x:/d", "./data:/d", "~/data:/d", ".:/d", "/:/d", "../x:/d"],
)
def test_mounts_that_would_not_survive(text: str) -> None:
    """A directory that dies with the machine is refused, and the error says where it could be."""
    with pytest.raises(UsageError, match="would not outlive the machine") as refused:
        split_mounts([text], DURABLE)
    assert "/v1" in refused.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"mounts": ("/v1/x:relative",)},
        {"mounts": ("relative",)},
        {"mounts": ("a:/b:ro:x",)},
        {"mounts": (":/b",)},
        {"env": ("=x",)},
        {"env": ("",)},
        {"ulimits": ("memlock",)},
        {"ulimits": ("nofile=many",)},
        {"shm_size": "big"},
        {"shm_size": "-1"},
        {"memory": ""},
        {"memory": "0"},
        {"restart": "sometimes"},
        {"restart": "on-failure:x"},
        {"restart": "always", "remove": True},
        {"labels": ("xportal.gpu=none",)},
    ],
)
def test_senseless_options_are_usage_errors(options: dict[str, Any]) -> None:
    """Every bad value is a UsageError with a hint, never an exception of the docker package."""
    with pytest.raises(UsageError) as refused:
        payload(**options)
    assert refused.value.hint


def test_an_environment_in_a_file() -> None:
    """As Docker reads it: values to the line's end, names alone, comments, a byte order mark."""
    assert env_file("\ufeffA=1 # one\r\n\n  # B=2\n  C=x=y\nTOKEN\n", "f") == ["A=1 # one", "C=x=y", "TOKEN"]
    for wrong in ("=1", "A B=1"):
        with pytest.raises(UsageError, match="no variable"):
            env_file(wrong, "f")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5s", timedelta(seconds=1.5)),
        ("10", datetime(1970, 1, 1, 0, 0, 10, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05+01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02", datetime(2026, 1, 2).astimezone()),
    ],
)
def test_since(text: str, when: datetime | timedelta) -> None:
    """For how long, or a time; without a zone in this computer's."""
    assert since_when(text) == when


@pytest.mark.parametrize("text", ["", "m", "10 m", "yesterday", "-1m", "1m1h", "9" * 40])
def test_since_that_makes_no_sense(text: str) -> None:
    """It is refused before anything is asked."""
    with pytest.raises(UsageError, match="--since"):
        since_when(text)


def test_processors() -> None:
    """In billionths, as Docker counts them."""
    assert payload(cpus=1.5)["HostConfig"]["NanoCpus"] == 1_500_000_000
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--cpus"):
            nano_cpus(wrong)
