"""A fresh minimal Debian on a directory, entered by chroot, with namespaces of its own.

By hand: `python -m tests.fresh.debian make demo` runs a command in a clone of the
repository in a new one and removes it. The directory is a mount point of its own, as
container runtimes ask; the network is a user-mode one, so that this computer's Docker
Engine and firewall are left alone; the processes end with the command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CLONE = "/root/xportal"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
# How this computer reaches package indexes: by names of settings, whatever they are here.
SETTINGS = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy", "CI")
SETTINGS_FILES = (Path("/etc/resolv.conf"), Path("/etc/ssl/certs"), Path("/etc/pip.conf"), Path("/etc/xdg/pip"))

# Says its process id (of this computer's /proc), makes what a machine's init would, waits for the network, enters.
ENTER = """
read -r pid rest </proc/self/stat
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs sysfs "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/run"
mount -t tmpfs tmpfs "$ROOT/tmp"
for directory in $SHARED; do
    mkdir -p "$ROOT$directory"
    mount --rbind "$directory" "$ROOT$directory"
done
echo "$pid"
read -r go
exec chroot "$ROOT" /bin/sh -c "cd $CLONE && $COMMAND"
"""


@dataclass(frozen=True)
class FreshDebian:
    """A root directory with a clone of the repository in it."""

    root: Path

    def run(self, command: str, *, timeout_s: float) -> int:
        """Run a shell command in the clone and return its exit status; its output is this process's."""
        enter = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "/bin/sh", "-euc", ENTER]
        with subprocess.Popen(
            enter, env=self._environment(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as inside:
            assert inside.stdin is not None
            assert inside.stdout is not None
            try:
                with _network(int(inside.stdout.readline())):
                    inside.stdin.write("go\n")
                    inside.stdin.close()
                    for line in inside.stdout:
                        sys.stdout.write(line)
                    return inside.wait(timeout_s)
            finally:
                inside.kill()

    def _environment(self, command: str) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
        return passed | {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "ROOT": str(self.root),
            "SHARED": " ".join(_directories_pip_looks_in()),
            "CLONE": CLONE,
            "COMMAND": command,
        }


@contextlib.contextmanager
def fresh_debian() -> Iterator[FreshDebian]:
    """Make one with `make`, certificates and a clone of the committed state; remove it afterwards."""
    base = Path(tempfile.mkdtemp(prefix="xportal-fresh-", dir="/var/tmp"))
    root = base / "root"
    try:
        sources = [str(file) for file in SOURCES if file.exists()][:1]
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--include=make,ca-certificates",
                "bookworm",
                root,
                *sources,
            ],
            check=True,
        )
        settings = [str(file.relative_to("/")) for file in SETTINGS_FILES if file.exists()]
        subprocess.run(["cp", "--archive", "--parents", *settings, root], cwd="/", check=True)
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, f"{root}{CLONE}"], check=True)
        yield FreshDebian(root)
    finally:
        shutil.rmtree(base)


def _directories_pip_looks_in() -> list[str]:
    """The directories of this computer that pip's settings name: wheels and indexes kept on its disk."""
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    words = (word.strip("'\"").removeprefix("file://") for word in settings.replace("=", " ").split())
    return sorted({str(parent) for parent in map(Path, words) if parent.is_absolute() and parent.is_dir()})


@contextlib.contextmanager
def _network(pid: int) -> Iterator[None]:
    """Give the network namespace of a process a way out, with no rights on this computer."""
    ready, wrote = os.pipe()
    argv = [
        "slirp4netns",
        "--configure",
        "--mtu=65520",
        "--disable-host-loopback",
        f"--ready-fd={wrote}",
        str(pid),
        "tap0",
    ]
    with subprocess.Popen(argv, pass_fds=[wrote], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as slirp:
        os.close(wrote)
        with open(ready, "rb") as answer:
            assert answer.read(1), "slirp4netns has ended"
        try:
            yield
        finally:
            slirp.terminate()


def main() -> int:
    """Run the command that this program was given."""
    with fresh_debian() as debian:
        return debian.run(" ".join(sys.argv[1:]), timeout_s=3600)


if __name__ == "__main__":
    sys.exit(main())
