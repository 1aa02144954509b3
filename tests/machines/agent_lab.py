"""Machines that boot from xportal's own user data, without an API or a client."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.machines.lab import Lab, metadata, plan_boot
from xportal.agent.core.config import AgentConfig, DriveConfig
from xportal.machine.userdata import HostKey, build, deliver_argv, full_agent
from xportal.sandbox.hardware import Disk

AGENT = "/opt/xportal/agent"

# An image of some of the machine's own programs: there is no registry.
MAKE_IMAGE = """\
set -e
root=$(mktemp -d)
for program in dash sleep cat dd sha256sum sync; do
    cp -L --parents /usr/bin/$program $(ldd /usr/bin/$program | grep -o '/[^ ]*') $root
done
ln -s dash $root/usr/bin/sh
ln -sfn usr/bin $root/bin
tar -C $root -c . | docker import - tiny
"""


@dataclass
class Machine:
    """A machine with its agent."""

    lab: Lab
    instance_id: str
    address: str
    is_whole: bool = False

    def run(self, script: str) -> str:
        """What a script prints; AssertionError when it fails."""
        return self.lab.ssh(self.address, script)

    def fails(self, script: str) -> str:
        """What a script that fails says; AssertionError when it does not."""
        done = self.lab.try_ssh(self.address, script)
        assert done.returncode not in (0, 255), done.stdout + done.stderr
        return done.stdout + done.stderr

    def deliver(self) -> None:
        """Bring the full agent, and let it finish the boot, as `up` does."""
        self.run("true")  # it answers
        whole = full_agent()
        subprocess.run([*self.ssh_argv(), shlex.join(deliver_argv(whole))], input=whole, check=True)
        self.run("sudo systemctl start --no-block xportal-finish")
        self.is_whole = True

    def ssh_argv(self) -> list[str]:
        """The system's ssh to a machine that has answered before."""
        home = self.lab.home
        options = ["-o", f"UserKnownHostsFile={home}/known_hosts", "-o", "IdentitiesOnly=yes", "-F", "none"]
        return ["ssh", "-i", f"{home}/login", *options, f"ec2-user@{self.address}"]

    def follow(self, log: str) -> list[dict[str, Any]]:
        """A log's lines, once it has ended."""
        if not self.is_whole:
            self.deliver()
        return [json.loads(line) for line in self.run(f"{AGENT} follow {log}").splitlines()]

    def status(self) -> dict[str, Any]:
        """What the agent says."""
        answer: dict[str, Any] = json.loads(self.run(f"{AGENT} status"))
        return answer

    def save(self, save: str, grace: float = 5) -> list[dict[str, Any]]:
        """A final save's log."""
        self.run(f"cd / && sudo {AGENT} save {save} --kind final --grace {grace}")
        return self.follow(save)

    def off(self) -> None:
        """Shut it down."""
        self.lab.hardware.shut_down(self.instance_id, 30)


@dataclass
class AgentLab:
    """A lab whose machines have agents."""

    lab: Lab
    booted: int = 0

    def boot(
        self,
        *volumes: str,
        generation: int = 1,
        blank: bool = False,
        gpus: int = 0,
        plugged: bool = True,
        **facts: Any,
    ) -> Machine:
        """Launch a machine with drives, as `up` does; returns with the boot's log still growing.

        Not `plugged`, its drives are attached later.
        """
        self.booted += 1
        instance_id = f"i-0c{os.getpid():06x}{self.booted:03x}"  # no other session has it
        places = [(f"/dev/sd{letter}", "/v1" if letter == "f" else f"/v{letter}") for letter in "fghij"]
        named = [(f"demo{n}", *places[n]) for n, _ in enumerate(volumes)]
        drives = [DriveConfig(name, generation, device, mount, blank) for name, device, mount in named]
        config = AgentConfig("demo", f"l-{self.booted}", "us-east-1", "http://127.0.0.1:5577", drives, **facts)
        key = HostKey((self.lab.home / "host").read_text(), self.lab.host_key)
        return self.power_on(instance_id, volumes if plugged else (), build(config, key), gpus)

    def power_on(self, instance_id: str, volumes: tuple[str, ...], user_data: bytes, gpus: int) -> Machine:
        """Give IMDS its facts and the machine its power."""
        public_key = (self.lab.home / "login.pub").read_text().strip()
        facts = metadata(instance_id=instance_id, public_key=public_key, user_data=user_data)
        self.lab.api.known[instance_id] = facts
        disks = tuple(Disk(volume, f"/dev/sd{letter}") for volume, letter in zip(volumes, "fghij", strict=False))
        boot = plan_boot(instance_id, disks, gpus)
        return Machine(self.lab, instance_id, self.lab.hardware.boot(boot).public_ip)


def sentences(log: list[dict[str, Any]]) -> str:
    """A log's sentences."""
    return "\n".join(line["text"] for line in log if "text" in line)


def result(log: list[dict[str, Any]]) -> dict[str, Any]:
    """A log's result. AssertionError if it did not end well."""
    end = log[-1]
    assert end["ok"], f"{end['error']}\n{sentences(log)}"
    found: dict[str, Any] = end["result"]
    return found
