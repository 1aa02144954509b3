"""A Debian 11 root with its Python 3.9, made once by mmdebstrap and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = "python3,python3-pytest"
MIRROR = "http://deb.debian.org/debian"


def find_root() -> Path:
    """Where the root is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "xportal" / "bullseye"


def ensure_root() -> Path:
    """The root, made if it is missing. Appears whole or not at all. Raises CalledProcessError."""
    root = find_root()
    if not root.exists():
        new = root.with_name(f"bullseye.{os.getpid()}")
        new.parent.mkdir(parents=True, exist_ok=True)
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bullseye", str(new), MIRROR]
        try:
            subprocess.run(argv, check=True)
            new.rename(root)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return root


def run(root: Path, bind: Path, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program in the root with a directory at /mnt; its mounts and processes end with it.

    Everything it writes outside /mnt is gone afterwards, so that the root stays as it was made.
    """
    script = (
        'mount -t tmpfs tmpfs "$0/tmp"; mount -t tmpfs tmpfs "$0/run"; mount -t tmpfs tmpfs "$0/opt";'
        'mount -t tmpfs tmpfs "$0/etc/systemd"; mkdir -p "$0/etc/xportal"; mount -t tmpfs tmpfs "$0/etc/xportal";'
        'mount -t proc proc "$0/proc"; mount --bind "$1" "$0/mnt"; root="$0"; shift; exec chroot "$root" "$@"'
    )
    enter = [
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        "sh",
        "-euc",
        script,
        str(root),
        str(bind),
    ]
    return subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)
