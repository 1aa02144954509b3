"""What the launch told this machine, and where the agent keeps things on it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List

from .files import read_json, write_json
from .process import AgentError


@dataclass(frozen=True)
class DriveConfig:
    """One drive: `device` as in the launch's block device mapping; `blank` if the launch created it empty."""

    name: str
    generation: int
    device: str = "/dev/sdf"
    mount: str = "/v1"
    blank: bool = False

    @property
    def devices(self) -> List[str]:
        """Where the kernel may show it: as asked for, or as a Xen disk."""
        return [self.device, self.device.replace("sd", "xvd", 1)]

    @property
    def private(self) -> str:
        """Where the whole drive is mounted, for root. At `mount` the agent's, Docker's and the home are covered."""
        point = Path(self.mount)
        return str(point.parent / "xportal" / point.name)

    @property
    def root(self) -> Path:
        """The drive's root directory. An agent of before may have opened it, without a mount of its own for root."""
        return Path(self.private if os.path.ismount(self.private) else self.mount)

    @property
    def docker(self) -> Path:
        """Docker's data-root on the drive."""
        return self.root / "docker"

    @property
    def directory(self) -> Path:
        """Where xportal keeps its own files on the drive."""
        return self.root / ".xportal"

    @property
    def notice(self) -> Path:
        """Where programs find AWS's notice: every container sees the drive, and can write there."""
        return Path(self.mount, "xportal-notice.json")


@dataclass(frozen=True)
class AgentConfig:
    """The launch's facts. The first drive is Docker's and the home directory's."""

    portal: str
    launch: str
    region: str
    endpoint: str
    drives: List[DriveConfig]
    login_user: str = "ec2-user"
    edit: bool = True  # whether Docker's settings files may be edited; else containers are made anew instead
    attach: bool = False  # the drives' volumes are attached once the machine runs, which may be after its boot

    @property
    def main(self) -> DriveConfig:
        """The drive with Docker's data and the home directory."""
        return self.drives[0]

    def to_json(self) -> Dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Dict[str, Any]) -> AgentConfig:
        """Read what `to_json` wrote."""
        return cls(**{**raw, "drives": [DriveConfig(**drive) for drive in raw["drives"]]})


@dataclass(frozen=True)
class Paths:
    """Where things are on the machine, below `root` (another one in tests)."""

    root: Path = Path("/")

    @property
    def config(self) -> Path:
        """The launch's facts."""
        return self.root / "etc/xportal/agent.json"

    @property
    def saved(self) -> Path:
        """The mark of a finished final save, on the root disk."""
        return self.root / "var/lib/xportal/saved.json"

    @property
    def formatted(self) -> Path:
        """Which drives this machine has made a filesystem on."""
        return self.root / "var/lib/xportal/formatted.json"

    @property
    def state(self) -> Path:
        """Phase, error and facts of this boot."""
        return self.root / "run/xportal/state.json"

    @property
    def fitted(self) -> Path:
        """Exists once Docker may start: its containers fit this machine, and do not start by themselves."""
        return self.root / "run/xportal/fitted"

    @property
    def logs(self) -> Path:
        """The event logs."""
        return self.root / "run/xportal/log"

    @property
    def requests(self) -> Path:
        """What each save was asked to do."""
        return self.root / "run/xportal/save"

    @property
    def thaw(self) -> Path:
        """Says that a freeze is over."""
        return self.root / "run/xportal/thaw"

    @property
    def by_id(self) -> Path:
        """udev's stable names of disks."""
        return self.root / "dev/disk/by-id"

    @property
    def systemd(self) -> Path:
        """Units and drop-ins of this machine."""
        return self.root / "etc/systemd/system"

    @property
    def daemon_json(self) -> Path:
        """Docker's settings."""
        return self.root / "etc/docker/daemon.json"

    def get_config(self) -> AgentConfig:
        """Raises `AgentError` if the machine was not launched by xportal."""
        raw = read_json(self.config)
        if raw is None:
            raise AgentError(f"{self.config} is missing: this machine was not launched by xportal")
        return AgentConfig.from_json(raw)

    def put_config(self, config: AgentConfig) -> None:
        """Keep the launch's facts, for root's eyes."""
        write_json(self.config, config.to_json(), 0o600)
