"""The programs that everybody has, on a portal by its alias, through an interruption: no setting changes."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stories.conftest import User, free_port

pytestmark = pytest.mark.machine

# ssh asks the user database for the home, and not $HOME: in a mount namespace of its own root has the user's.
AT_HOME = 'mount --bind "$HOME/passwd" /etc/passwd && cd "$HOME" && exec "$@"'
MAKE_IMAGE = """\
set -e
root=$(mktemp -d)
for program in dash cat python3; do
    cp -L --parents /usr/bin/$program $(ldd /usr/bin/$program | grep -o '/[^ ]*') $root
done
cp -r --parents /usr/lib/python3* $(ls -d /lib/x86_64-linux-gnu/lib[mz].so*) $root
ln -s dash $root/usr/bin/sh
ln -sfn usr/bin $root/bin
tar -C $root -c . | docker import - python > /dev/null"""
# FAKE of a Jupyter server: the file that one writes, and a page for whoever has its token.
JUPYTER = """\
import http.server, json, os, pathlib, secrets
token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(8)
runtime = pathlib.Path("/root/.local/share/jupyter/runtime")
runtime.mkdir(parents=True, exist_ok=True)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/api", f"/?token={token}") else 403)
        self.end_headers()
        self.wfile.write(pathlib.Path("/v1/machine").read_bytes())
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Page)
told = {"base_url": "/", "port": 8888, "token": token, "secure": False}
(runtime / f"jpserver-{os.getpid()}.json").write_text(json.dumps(told))
server.serve_forever()
"""
SECONDS = 120.0


def types(user: User, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run any program as the user, whose home ssh takes for root's; with `check`, it must end with 0."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AT_HOME, "sh", *words]
    done = subprocess.run(
        argv, env=user.environment, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0 or not check, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def page(url: str) -> str:
    """What a page says; nothing while it cannot be had."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def wait_for(what: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@contextmanager
def running(user: User, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until the end of the block."""
    with user.starts(*words) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line of its answer."""
    assert process.stdout
    return process.stdout.readline().strip()


def use_everything(user: User) -> str:
    """Each program, by the alias alone; the id of the machine that they reached."""
    machine = types(user, "ssh", "xportal-demo", "hostname").stdout.strip()
    (user.home / "here").write_text(f"{machine}\n")
    types(user, "scp", "-q", "here", "xportal-demo:/v1/machine")
    types(user, "rsync", "-a", "here", "xportal-demo:rsynced/")
    types(user, "sftp", "-q", "-b", "-", "xportal-demo", stdin="put here sent\nget rsynced/here back\n")
    assert (user.home / "back").read_text() == f"{machine}\n"
    assert types(user, "ssh", "-tt", "xportal-demo", "tmux -V; cat sent").stdout.split()[-1] == machine
    told = types(user, "ssh-agent", "sh", "-c", "ssh -A xportal-demo 'test -S \"$SSH_AUTH_SOCK\" && echo agent'").stdout
    assert told.split() == ["agent"]
    assert types(user, "docker", "--context", "xportal-demo", "ps", "--format", "{{.Names}}").stdout == "lab\n"
    return machine


def settings(user: User) -> dict[str, str]:
    """All that the user has of ssh's and docker's configuration, and xportal's files of the aliases."""
    places = (user.home / ".ssh", user.home / ".docker", user.home / ".local/state/xportal/ssh")
    files = [path for place in places for path in place.rglob("*") if path.is_file() and path.suffix != ".machine"]
    return {str(path): path.read_text() for path in files}


def test_the_plain_tools_go_on_with_the_next_machine(user: User) -> None:
    """ssh, scp, sftp, rsync, -A, -t, docker, a forward and a notebook; in between one line says that the portal is
    down, and nothing is launched.
    """
    (user.home / "passwd").write_text(Path("/etc/passwd").read_text().replace(":/root:", f":{user.home}:"))
    (user.home / ".ssh").mkdir(mode=0o700)
    (user.home / ".ssh/config").write_text("Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", user.home / "own"], check=True)
    told_up = user.types("up", "demo", "--cpu", "--size", "2", "--ssh-key", str(user.home / "own.pub")).stderr
    assert "ssh-config demo --install" in told_up
    assert not (user.home / ".docker").exists()
    assert user.types("ssh-config", "demo", "--install", "--yes").stdout == "ssh xportal-demo\n"
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    user.types("ssh", "demo", "--", "cat > /v1/jupyter-lab", stdin=JUPYTER.encode())
    user.types("run", "demo", "--name", "lab", "--restart", "always", "python", "--", "python3", "/v1/jupyter-lab")
    before, local = settings(user), free_port()
    first = use_everything(user)

    book = running(user, "--json", "notebook", "demo", "--no-browser", "--port", str(free_port()))
    with running(user, "forward", "demo", f"{local}:22") as forward, book as notebook:
        assert line_of(forward) == f"localhost:{local} leads to port 22 of {first}"
        told = json.loads(line_of(notebook))
        assert (told["machine"], told["container"]) == (first, "lab")
        assert page(told["url"]) == f"{first}\n"
        assert page(told["url"] + "x") == ""

        user.types("sandbox", "interrupt", "demo", "--notice-seconds", "15")
        wait_for(lambda: not user.asks("status"))
        down = types(user, "ssh", "xportal-demo", "true", check=False)
        assert (down.returncode, down.stderr) == (255, 'xportal: portal "demo" is down; xportal up demo\n')
        docker = types(user, "docker", "--context", "xportal-demo", "ps", check=False)
        assert 'portal "demo" is down' in docker.stderr
        assert user.asks("status") == []

        user.types("up", "demo", "--cpu")
        second = use_everything(user)
        assert second != first
        assert settings(user) == before
        [row] = user.asks("status", "demo")
        types(user, "ssh", "-i", "own", "-o", "IdentitiesOnly=yes", f"ec2-user@{row['address']}", "true")
        assert line_of(forward) == f"localhost:{local} leads to port 22 of {second}"
        again = json.loads(line_of(notebook))
        assert again == {**told, "machine": second}
        assert page(told["url"]) == f"{second}\n"

        user.types("down", "demo")
        for ended in (forward, notebook):
            assert ended.wait(SECONDS) == 0
