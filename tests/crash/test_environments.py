"""Odd environments: in each of them a command works, or says in one clear error what is in its way."""

from __future__ import annotations

import http.server
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.crash.conftest import Lab, make_lab, open_cloud
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.secret import Secret

ROOT = Path(__file__).parents[2]
DRIVER = [sys.executable, "-m", "tests.crash.odd_program"]
COMMANDS = [
    ["status"],
    ["up", "fresh", "--cpu", "--dry-run"],
    ["ps", "odd"],
    ["ssh", "odd", "df", "-h"],
    ["build", "odd", "{context}"],
    ["watch", "ended"],
]
WORKS = [0, 0, 1, 0, 1, 0]  # of Docker on the machine there is none: DockerFailed
SECONDS = 120
SAMPLE = 4  # of so many environments one is part of `make test`


@dataclass
class Place:
    """The directories of somebody with an odd environment."""

    home: Path
    url: str
    secret: Secret
    servers: dict[str, str]

    def config(self, text: str) -> Settings:
        """AWS's settings, as a file."""
        (self.home / "config").write_text(text)
        return {"AWS_CONFIG_FILE": str(self.home / "config")}

    def process(self, script: str) -> Settings:
        """Credentials that a program gives."""
        program = self.home / "credentials.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {**NO_KEYS, **self.config(f"[default]\ncredential_process = {program}\n")}


Settings = dict[str, str | None]
LOGINS = ("ps", "ssh", "build")
NAMELESS: Settings = {"USER": None, "LOGNAME": None, "ODD_NAMELESS": "1"}
NO_KEYS: Settings = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "true"}
EXPIRED = json.dumps(
    {
        "Version": 1,
        "AccessKeyId": "a",
        "SecretAccessKey": "b",
        "SessionToken": "c",
        "Expiration": "2020-01-01T00:00:00Z",
    }
)


@dataclass(frozen=True)
class Odd:
    """An environment: what is set or unset (None) in it, what becomes of the process, and how the commands end.

    `ends` is WORKS, or a part of the error that each command gives which needs what is missing.
    """

    name: str
    settings: Callable[[Place], Settings] = lambda _: {}
    ends: str | list[int] = field(default_factory=lambda: WORKS)
    before: Callable[[Place], object] | None = None  # in the process, before the program
    only: tuple[str, ...] = ()  # the commands that need what is missing; all if empty


def is_file(place: Place) -> str:
    (place.home / "file").touch()
    return str(place.home / "file" / "state")


def long_directory(place: Place) -> str:
    path = place.home / ("x" * 100) / ("y" * 100)
    path.mkdir(parents=True)
    return str(path)


def leave(place: Place) -> None:
    gone = place.home / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


def few_files(_: Place) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (11, 11))


ENVIRONMENTS = [
    Odd("nothing odd"),
    # the region
    Odd("AWS_REGION alone", lambda _: {"AWS_DEFAULT_REGION": None, "AWS_REGION": "us-east-1"}),
    Odd("AWS_REGION wins over AWS_DEFAULT_REGION", lambda _: {"AWS_DEFAULT_REGION": "mars", "AWS_REGION": "us-east-1"}),
    Odd("AWS_REGION empty", lambda _: {"AWS_REGION": ""}),
    Odd("no region", lambda _: {"AWS_DEFAULT_REGION": None}, "no AWS region is set"),
    Odd("no such region", lambda _: {"AWS_REGION": "mars-1"}, "unknown AWS region 'mars-1'"),
    # credentials
    Odd("no credentials", lambda _: NO_KEYS, "no AWS credentials"),
    Odd("half of the credentials", lambda _: {**NO_KEYS, "AWS_ACCESS_KEY_ID": "a"}, "Partial credentials"),
    Odd("a key with a line end", lambda _: {"AWS_ACCESS_KEY_ID": "a\nX-Header: b"}, "no credentials have"),
    Odd("credential_process prints text", lambda p: p.process("echo please log in"), "no AWS credentials: .*process"),
    Odd("credential_process prints a list", lambda p: p.process("echo []"), "no AWS credentials: .*process"),
    Odd("credential_process fails", lambda p: p.process("echo it broke >&2; exit 3"), "it broke"),
    Odd("credential_process gives expired keys", lambda p: p.process(f"echo '{EXPIRED}'"), "credentials: .*expired"),
    Odd(
        "credential_process is missing",
        lambda p: {**NO_KEYS, **p.config("[default]\ncredential_process = /nowhere/x\n")},
        "no AWS credentials: .*/nowhere/x",
    ),
    Odd("no such profile", lambda _: {"AWS_PROFILE": "nobody"}, "profile .*nobody"),
    Odd("settings that are none", lambda p: p.config("no section\n"), "[Uu]nable to parse config file"),
    Odd("settings in another encoding", lambda p: {"AWS_CONFIG_FILE": binary(p)}, "parse config"),
    Odd("settings that are a directory", lambda p: {"AWS_CONFIG_FILE": str(p.home)}),
    Odd("no such way to try again", lambda _: {"AWS_RETRY_MODE": "often"}),
    # the network
    Odd("no endpoint", lambda _: {"AWS_ENDPOINT_URL": "nonsense"}, "settings .* make no sense: .*nonsense"),
    Odd("nobody at the endpoint", lambda _: {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, "does not answer"),
    Odd("no such host", lambda _: {"AWS_ENDPOINT_URL": "http://nowhere.invalid"}, "nowhere.invalid does not answer"),
    Odd("a proxy that is none", lambda _: {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "ALL_PROXY": "x"}),
    Odd("proxies in lower case", lambda _: {"http_proxy": "http://nowhere.invalid", "https_proxy": "nonsense"}),
    Odd("a login page", lambda p: {"AWS_ENDPOINT_URL": p.servers["page"]}, "answered by something else than AWS"),
    Odd("a proxy's 502", lambda p: {"AWS_ENDPOINT_URL": p.servers["502"], "AWS_MAX_ATTEMPTS": "1"}, "HTTP 502"),
    Odd("a proxy's 403", lambda p: {"AWS_ENDPOINT_URL": p.servers["403"]}, "HTTP 403"),
    Odd("half an answer", lambda p: {"AWS_ENDPOINT_URL": p.servers["half"]}, "came in part"),
    # files and users
    Odd("no home", lambda _: {"HOME": None, "USER": None, "LOGNAME": None}),
    Odd("a home that is not there", lambda p: {"HOME": str(p.home / "nowhere")}),
    Odd("a state directory below a file", lambda p: {"XDG_STATE_HOME": is_file(p)}, "login keys", only=LOGINS),
    Odd("a user without a name", lambda _: NAMELESS),
    Odd(
        "a user without a name or a home",
        lambda _: {**NAMELESS, "HOME": None, "XDG_STATE_HOME": None},
        "no home directory",
        only=LOGINS,
    ),
    Odd(
        "a state directory that cannot be made", lambda _: {"XDG_STATE_HOME": "/proc/state"}, "login keys", only=LOGINS
    ),
    Odd("a directory that is gone", before=leave),
    Odd("a long TMPDIR", lambda p: {"TMPDIR": long_directory(p)}),
    Odd("no TMPDIR", lambda p: {"TMPDIR": str(p.home / "nowhere")}),
    Odd("nothing may be read by others", before=lambda _: os.umask(0o777)),
    Odd("few files", before=few_files, ends=""),  # some have enough
    Odd("no programs", lambda p: {"PATH": str(p.home)}, "ssh cannot be run", only=("ssh",)),
    # words and the terminal
    Odd("ASCII", lambda _: {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Odd("an odd terminal", lambda _: {"TERM": "nonsense", "COLUMNS": "0", "LINES": "x", "FORCE_COLOR": "1"}),
]


def binary(place: Place) -> str:
    (place.home / "binary").write_bytes(b"[default]\nregion = \xff\xfe\n")
    return str(place.home / "binary")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives one answer to all, in HTML."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """What may answer instead of AWS."""
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    with (
        answering(200, page) as login,
        answering(502, page) as gateway,
        answering(403, page) as refused,
        answering(200, b"<?xml version='1.0'?><DescribeInstancesResponse><reserv") as half,
    ):
        yield {"page": login, "502": gateway, "403": refused, "half": half}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that shows for a day what was ended: every test is to see it."""
    with open_cloud(tmp_path_factory.mktemp("disks"), terminated_seconds=86400.0) as started:
        yield started


@pytest.fixture(scope="module")
def account(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A portal that is up, and one that somebody ended."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = make_lab(cloud, tmp_path_factory.mktemp("state"), monkeypatch)
        lab.up("odd", size_gib=1)
        lab.up("ended", size_gib=1)
        lab.down("ended")
        yield lab
        lab.down("odd")


@pytest.fixture
def place(account: Lab, servers: dict[str, str]) -> Iterator[Place]:
    """A directory that any user may use; pytest's own are its user's."""
    home = Path(tempfile.mkdtemp(prefix="xportal-odd-"))
    home.chmod(0o777)
    (home / "bin").mkdir()
    (home / "bin" / "ssh").write_text('#!/bin/sh\nfor word; do last="$word"; done\necho "on the machine: $last"\n')
    (home / "bin" / "ssh").chmod(0o755)
    (home / "context").mkdir()
    (home / "context" / "Dockerfile").write_text("FROM scratch\n")
    try:
        yield Place(home, account.cloud.endpoint_url, account.cloud.secret, servers)
    finally:
        shutil.rmtree(home)


def environment(place: Place, odd: Settings) -> dict[str, str]:
    """What the process has, and nothing of the person who runs the tests."""
    usual: Settings = {
        "PATH": f"{place.home}/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(place.home),
        "XDG_STATE_HOME": str(place.home / "state"),
        "AWS_ENDPOINT_URL": place.url,
        "AWS_ACCESS_KEY_ID": place.secret.access_key_id,
        "AWS_SECRET_ACCESS_KEY": place.secret.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "USER": "somebody",
        **odd,
    }
    return {name: value for name, value in usual.items() if value is not None}


def assert_clear(argv: list[str], status: int, said: str) -> None:
    """The promised form: an exit status of ours, and one error in three lines at most if it is not 0."""
    told = f"xportal {' '.join(argv)} -> {status}\n{said}"
    assert status in range(7), told
    assert not any(word in said for word in ("Traceback", "unexpected", "report it", "Exception ignored")), told
    errors = [line for line in re.sub("\x1b\\[[0-9;]*m", "", said).splitlines() if line.startswith("error: ")]
    assert len(errors) == (status != 0), told


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(odd, id=odd.name, marks=[pytest.mark.all] if number % SAMPLE else [])
        for number, odd in enumerate(ENVIRONMENTS)
    ],
)
def test_environment(odd: Odd, place: Place) -> None:
    """Each command works, or one clear error names what is in its way."""
    commands = [[word.format(context=place.home / "context") for word in argv] for argv in COMMANDS]
    reader, writer = os.pipe()
    before = odd.before
    with open(reader) as results:
        done = subprocess.run(
            [*DRIVER, str(writer), json.dumps(commands)],
            env=environment(place, odd.settings(place)),
            cwd=place.home,
            pass_fds=[writer],
            preexec_fn=partial(before, place) if before else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        os.close(writer)
        ends = [json.loads(line) for line in results]
    assert len(ends) == len(commands), done.stderr
    for end, works in zip(ends, WORKS, strict=True):
        argv, status, said = end["argv"], end["status"], end["said"]
        assert_clear(argv, status, said)
        if isinstance(odd.ends, list) or (odd.only and argv[0] not in odd.only):
            assert status == works, f"{argv}\n{said}"
        else:
            assert re.search(odd.ends, said), f"{argv}\n{said}"


CLOSED = {
    "stdin": "<&-",
    "stdout": ">&-",
    "stderr": "2>&-",
    "all": "<&- >&- 2>&-",
    "a full disk": "> /dev/full",
    "a full disk for all": "> /dev/full 2>&1",
    "a reader that has gone": "| true",
}


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED.keys())
def test_closed_streams(place: Place, streams: str) -> None:
    """Streams that are closed, full or read by nobody: no traceback, and no file of ours in their place."""
    for words in (["status"], ["--json", "drives"], ["up", "fresh", "--cpu", "--dry-run"], ["ssh", "odd", "df"]):
        line = f"{' '.join(DRIVER)} '{json.dumps(words)}' {streams}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment(place, {}),
            cwd=place.home,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = done.stdout + done.stderr
        # ssh itself ends by SIGPIPE where nobody reads it, as any program does.
        assert done.returncode in (0, 1, *([141] if words[0] == "ssh" else [])), f"{line}\n{said}"
        assert not any(word in said for word in ("Traceback", "unexpected", "Exception ignored")), f"{line}\n{said}"
    keys = list((place.home / "state" / "xportal").glob("*.key"))
    assert all(key.read_text().startswith("-----BEGIN") and "portal" not in key.read_text() for key in keys)
