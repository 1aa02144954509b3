"""Jupyter servers: what their files tell, how the machine reaches them, and the token that they keep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xportal.container.jupyter import SCRIPT, Server, reached_at, read_files, server_of
from xportal.container.run import with_token

FILE: dict[str, Any] = {
    "base_url": "/", "hostname": "0.0.0.0", "password": False, "pid": 7, "port": 8888, "root_dir": "/v1",
    "secure": False, "sock": "", "token": "abc", "url": "http://0.0.0.0:8888/", "version": "2.14.0",
}  # fmt: skip


def test_the_script_tells_of_living_servers_alone(tmp_path: Path) -> None:
    """A file of a server that was killed stays on the drive, and another program may have its process number."""
    runtime = tmp_path / "my runtime"
    runtime.mkdir()
    sleep = ["-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen([sys.executable, *sleep, "jupyter-lab"], stdin=subprocess.PIPE) as server,
        subprocess.Popen([sys.executable, *sleep, "other"], stdin=subprocess.PIPE) as other,
    ):
        for pid, port in ((server.pid, 1), (other.pid, 2), (2**22 + 1, 3)):
            (runtime / f"jpserver-{pid}.json").write_text(json.dumps({**FILE, "port": port}, indent=2))
        (runtime / f"jpserver-{server.pid}-open.html").write_text("a page")
        environment = {"JUPYTER_RUNTIME_DIR": str(runtime), "PATH": "/usr/bin:/bin"}
        told = subprocess.run(["sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True).stdout
        for process in (server, other):
            assert process.stdin
            process.stdin.close()
    assert [raw["port"] for raw in read_files(told)] == [1]


@pytest.mark.parametrize(
    "wrong",
    ["", "no JSON", "[]", '{"port": "8888"}', json.dumps({**FILE, "port": 0}), json.dumps({**FILE, "token": None}),
     json.dumps({**FILE, "base_url": "@evil.example/"})],
)  # fmt: skip
def test_files_that_make_no_sense_are_left_out(wrong: str) -> None:
    """A container may write anything there."""
    assert [raw["token"] for raw in read_files(f"{wrong}\x1e{json.dumps(FILE)}\x1e")] == ["abc"]


@pytest.mark.parametrize(
    ("network", "where"),
    [
        ({"Networks": {"host": {"IPAddress": ""}}, "Ports": {}}, ("127.0.0.1", 8888)),
        ({"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}, "Ports": {"8888/tcp": None}}, ("172.17.0.2", 8888)),
        (
            {
                "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
                "Ports": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}], "8888/udp": None},
            },
            ("127.0.0.1", 9000),
        ),
        ({"Networks": {"odd": {"IPAddress": "-oProxyCommand=x"}}, "Ports": None}, ("127.0.0.1", 8888)),
    ],
)
def test_the_machine_reaches_a_server(network: dict[str, Any], where: tuple[str, int]) -> None:
    """By its published port, else at the container's own address, or its own with the machine's network."""
    server = server_of({**FILE, "secure": False}, "lab", *reached_at({"NetworkSettings": network}))
    assert (server.host, server.port) == where


def test_the_address_for_a_browser() -> None:
    """Token and path are encoded; with a password there is no token."""
    assert Server(None, "h", 1, "a b&c", "/user/ä/").url(8889) == "http://localhost:8889/user/%C3%A4/?token=a%20b%26c"
    assert Server(None, "h", 1, "", is_secure=True).url(8889) == "https://localhost:8889/"


@pytest.mark.parametrize(
    ("payload", "image", "gets"),
    [
        ({"Cmd": ["jupyter", "lab"]}, {}, True),
        ({"Cmd": ["sh", "-c", "exec jupyter-lab --ip=0.0.0.0"], "Env": ["A=b"]}, {}, True),
        ({}, {"Cmd": ["start-notebook.py"], "Entrypoint": ["tini", "--"]}, True),
        ({"Cmd": ["python", "train.py"]}, {"Cmd": ["jupyter", "lab"]}, False),
        ({"Cmd": ["python", "train.py"]}, {}, False),
        ({"Cmd": ["jupyter", "lab"], "Env": ["JUPYTER_TOKEN=mine"]}, {}, False),
        ({"Cmd": ["jupyter", "lab"]}, {"Env": ["JUPYTER_TOKEN=the image's"]}, False),
    ],
)
def test_a_server_gets_a_token_that_stays(payload: dict[str, Any], image: dict[str, Any], gets: bool) -> None:
    """As a setting of its container; none that has one already, and no other program."""
    env = [item for item in with_token(payload, image, "word").get("Env", ()) if item == "JUPYTER_TOKEN=word"]
    assert len(env) == gets
    assert set(payload.get("Env", ())) <= set(with_token(payload, image, "word").get("Env", ()))
