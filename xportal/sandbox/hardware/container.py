"""A machine's container as Docker is asked to make it: planned here, made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xportal.sandbox.hardware import Boot

LABEL_HOME = "xportal.sandbox"
LABEL_INSTANCE = "xportal.instance"
LABEL_ADDRESS = "xportal.address"
SSH_PORT = 22

# By number, as in linux/capability.h.
_CAPABILITY_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""


@dataclass(frozen=True)
class Host:
    """What of this computer decides how a machine's container must look."""

    missing_capabilities: tuple[str, ...]
    cgroup_version: int

    @classmethod
    def observe(cls) -> Host:
        """This computer, as its kernel describes it."""
        status = Path("/proc/self/status").read_text()
        effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        return cls(missing_capabilities(effective, last), 2 if unified else 1)


def missing_capabilities(effective: int, last: int) -> tuple[str, ...]:
    """Names of the capabilities up to number `last` that are not in the set `effective`."""
    names = _CAPABILITY_NAMES.split()[: last + 1]
    return tuple(name for number, name in enumerate(names) if not effective >> number & 1)


@dataclass(frozen=True)
class Chassis:
    """One machine's container. `address` None: ssh is not published, the machine's own address is reached."""

    boot: Boot
    image: str
    home: Path
    address: str | None

    @property
    def name(self) -> str:
        """The container's name: instance ids are unique among all sandboxes."""
        return f"xportal-{self.boot.instance_id}"

    def plan_container(self, host: Host) -> dict[str, Any]:
        """The body of Docker's ContainerCreate."""
        return {
            "Image": self.image,
            "Hostname": self.boot.instance_id,
            "Tty": True,  # the console: all that /dev/console is told becomes the container's log
            "Env": self._environment(),
            "Labels": {
                LABEL_HOME: str(self.home),
                LABEL_INSTANCE: self.boot.instance_id,
                LABEL_ADDRESS: self.address or "",
            },
            "ExposedPorts": {f"{SSH_PORT}/tcp": {}},
            "HostConfig": {**_powers(host), **_places(host), "PortBindings": self._bindings()},
        }

    def _bindings(self) -> dict[str, Any]:
        if self.address is None:
            return {}
        return {f"{SSH_PORT}/tcp": [{"HostIp": self.address, "HostPort": str(SSH_PORT)}]}

    def _environment(self) -> list[str]:
        boot = self.boot
        return [
            f"SOFTWARE={boot.software.value}",
            f"GPU_COUNT={boot.gpu_count}",
            f"GPU_NAME={boot.gpu_name or 'GPU'}",
            f"GPU_MEMORY_MIB={boot.gpu_memory_mib}",
        ]


def _powers(host: Host) -> dict[str, Any]:
    """All that root may do here. Not `Privileged`: that asks for what this host may not have itself."""
    return {
        "CapAdd": ["ALL"],
        "CapDrop": list(host.missing_capabilities),
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
    }


def _places(host: Host) -> dict[str, Any]:
    """Mounts. /dev stays the container's own: the host's would show every machine every drive."""
    places: dict[str, Any] = {
        "Tmpfs": {"/run": "exec,mode=755", "/run/lock": "mode=1777", "/tmp": "exec,mode=1777"},
        "CgroupnsMode": "private",
    }
    if host.cgroup_version == 1:
        # systemd needs the host's hierarchies; it keeps to its own branch of them.
        places["CgroupnsMode"] = "host"
        places["Binds"] = ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    return places
