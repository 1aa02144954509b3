"""Where the demo plays: a sandbox, AWS settings and a directory of its own; nothing of the user's is touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from xportal.errors import XportalError
from xportal.sandbox.demo.traces import LABEL, find_traces, machine_cgroups

# Those that decide which account and which sandbox a command means.
FOREIGN = ("AWS_", "XPORTAL_", "XDG_")
SETTLE_S = 20
LAST_WORDS = 15


class DemoFailed(XportalError):
    """A command failed, or something claimed is not so."""


class Stage:
    """Runs commands as a person would type them, and looks for what they leave."""

    def __init__(self) -> None:
        # Not /tmp, which may be in memory: drives are files on real disks.
        self.directory = Path(tempfile.mkdtemp(prefix="xportal-demo-", dir="/var/tmp"))
        self.home = self.directory / "sandbox"
        self.desk = self.directory / "home"
        self.desk.mkdir()
        self.port = _free_port()
        self._machines: list[str] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path("~/.docker").expanduser())),
            "HOME": str(self.desk),
            "XPORTAL_SANDBOX_HOME": str(self.home),
            "AWS_CONFIG_FILE": str(self.desk / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.desk / "aws-credentials"),
        }

    def say(self, text: str) -> None:
        """Narration."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def export(self, name: str, value: str) -> None:
        """Set a variable, as shown, for the commands that follow."""
        self.say(f"$ export {name}={value}")
        self._environment[name] = value

    def type(self, command: str) -> str:
        """Show a shell command, run it, show its output and return what it answered on stdout; raises DemoFailed."""
        self.say(f"$ {command}")
        answer = self._run(command)
        sys.stdout.write(answer)
        sys.stdout.flush()
        self._machines += self._containers()
        return answer

    def ask(self, command: str) -> Any:
        """What a command answers in JSON, to check a claim by; not shown."""
        return json.loads(self._run(f"{command} --json", stderr=subprocess.PIPE))

    def write(self, name: str, text: str) -> None:
        """Put a file where commands are typed."""
        (self.desk / name).write_text(text)

    def last_words(self) -> str:
        """The end of the sandbox's log."""
        log = self.home / "daemon.log"
        return "\n".join(log.read_text().splitlines()[-LAST_WORDS:]) if log.exists() else ""

    def wait_for_traces(self) -> list[str]:
        """The machines, disks and processes that are still there after some seconds; best none."""
        end = time.monotonic() + SETTLE_S
        while (left := self._traces()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def close(self) -> list[str]:
        """End the sandbox and remove the directory; what could not be removed, best nothing. Idempotent."""
        if not self.directory.exists():
            return []
        subprocess.run(["xportal", "sandbox", "reset"], env=self._environment, capture_output=True, check=False)
        left = self.wait_for_traces()
        if not left:
            shutil.rmtree(self.directory)
        return left

    def _run(self, command: str, stderr: int | None = None) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.desk,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"exit status {done.returncode} of: {command}\n{done.stdout}{done.stderr or ''}".rstrip())
        return done.stdout

    def _containers(self) -> list[str]:
        chosen = f"label={LABEL}={self.home}"
        return self._run(f"docker ps --all --quiet --no-trunc --filter '{chosen}'").split()

    def _traces(self) -> list[str]:
        cgroups = [f"cgroup {group}" for group in machine_cgroups(self._machines)]
        return find_traces(self.directory, f"XPORTAL_SANDBOX_HOME={self.home}") + cgroups


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
