"""A real sshd on a loopback port, with keys of its own: the machine as far as ssh goes."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xportal.remote import Login

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
SetEnv PATH={home}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def make_home(home: Path) -> Login:
    """Keys and configuration of an sshd that does not run yet."""
    for name in ("host_key", "login_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    (home / "authorized_keys").write_text((home / "login_key.pub").read_text())
    (home / "bin").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "sshd_config").write_text(CONFIG.format(port=port, home=home))
    host_key = " ".join((home / "host_key.pub").read_text().split()[:2])
    return Login("127.0.0.1", getpass.getuser(), home / "login_key", host_key, port)


@contextmanager
def running(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The sshd of `home`, in the foreground of a process of ours; gone with its children afterwards."""
    Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"
    with (home / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(home / "sshd_config")], stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_listening(login: Login, *, seconds: float = 10) -> None:
    """Until the port accepts connections."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((login.address, login.port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.05)
