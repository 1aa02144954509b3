"""What a sandbox could leave on this computer, found from outside: by the kernel's and Docker's own lists."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

LABEL = "xportal.sandbox"


def find_traces(directory: Path, setting: str) -> list[str]:
    """Everything, one line each, that lives on files under `directory` or was started with `setting` (NAME=value).

    That is containers of sandboxes there, loop devices, mounts, and processes other than this one.
    """
    where = f"{directory}/"
    return [
        *(f"container {line}" for line in _containers() if where in f"{line}/"),
        *(
            f"loop device {line}"
            for line in _run("losetup", "--list", "--noheadings", "-O", "NAME,BACK-FILE")
            if where in line
        ),
        *(f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if where in line),
        *_processes(setting),
    ]


def machine_cgroups(containers: list[str]) -> list[Path]:
    """The control groups of containers, by their full ids, that are still there."""
    groups = (Path(path) for path, _, _ in os.walk("/sys/fs/cgroup"))
    return [group for group in groups if any(identity in group.name for identity in containers)]


def _containers() -> list[str]:
    """Names and homes; none where no Docker Engine answers, which then runs none."""
    if shutil.which("docker") is None:
        return []
    form = '{{.Names}} {{.Label "' + LABEL + '"}}'
    argv = ["docker", "ps", "--all", "--filter", f"label={LABEL}", "--format", form]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()


def _processes(setting: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = setting.encode() in (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended, or is not ours to read
            continue
        if marked and int(process.name) != os.getpid():
            found.append(f"process {process.name} {command}")
    return found


def _run(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
