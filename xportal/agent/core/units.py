"""The systemd units and drop-ins that the agent brings."""

from __future__ import annotations

from typing import Dict

from .config import AgentConfig, Paths
from .covers import list_covers
from .files import write_whole
from .process import run

COMMAND = "/opt/xportal/agent"
READY = "xportal-ready.service"
FINISH = "xportal-finish.service"
HOME = "xportal-home.service"
OPEN = "xportal-open.service"
APPEAR = "xportal-open.path"
WATCH = "xportal-watch.service"
LEAVE = "xportal-leave.service"

# `RequiresMountsFor` alone lets dockerd start on the empty directory. The last cover is there when all are; at a
# shutdown Docker stops before they go.
GUARD = """[Unit]
After={mounts}
AssertPathIsMountPoint={private}
AssertPathIsMountPoint={last}
AssertPathExists=/run/xportal/fitted
"""
# A save has ended the containers before; what hangs then must not hold it up.
STOP = """[Service]
TimeoutStopSec=30
"""
# A session that began before the login user joined the group docker may use the socket too.
SOCKET = """[Socket]
ExecStartPost=-/bin/chown {user} /run/docker.sock
"""
# Not the role's credentials for containers, those on the host's network neither. systemd applies it to the scopes that
# Docker makes for them on control groups v2.
NO_METADATA = """[Scope]
IPAddressDeny=169.254.169.254
"""
# The stage of cloud-init that runs `agent open` and makes the login user. Since 24.3 it has the second name.
CLOUD_INIT = "cloud-init.service cloud-init-network.service"
# Before anybody can log in, and be at work where it does not last.
HOME_UNIT = f"""[Unit]
After={CLOUD_INIT}
Before=sshd.service ssh.service ssh.socket systemd-user-sessions.service

[Service]
Type=oneshot
ExecStart={COMMAND} home
"""
READY_UNIT = f"""[Unit]
Wants=network-online.target
After={CLOUD_INIT} network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={COMMAND} ready
"""
# `up` starts it once it has put the full agent there.
FINISH_UNIT = f"""[Unit]
After={READY}

[Service]
Type=oneshot
ExecStart={COMMAND} ready
"""
# The boot does not wait for a volume that is attached later; its device starts this, once: it stays active.
OPEN_UNIT = f"""[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-{COMMAND} open
"""
APPEAR_UNIT = """[Path]
"""
# A save outlives the session that asked for it and, for two minutes, a shutdown that comes in between.
SAVE_UNIT = f"""[Unit]
After=network.target

[Service]
Type=oneshot
ExecStart={COMMAND} run-save %i
KillMode=process
TimeoutStopSec=120
"""
# The last to be killed for want of memory: training takes all there is.
WATCH_UNIT = f"""[Unit]
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart={COMMAND} watch
Restart=always
RestartSec=2
OOMScoreAdjust=-900
"""
# Stopped before what it is started after: at a shutdown Docker, network and mounts are still there.
LEAVE_UNIT = f"""[Unit]
After=network.target docker.service docker.socket containerd.service {{mounts}}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop={COMMAND} leave
TimeoutStopSec=130
"""


def plan_units(config: AgentConfig) -> Dict[str, str]:
    """The files below /etc/systemd/system."""
    points = [point for drive in config.drives for point in (drive.private, drive.mount, *list_covers(drive))]
    mounts = " ".join(map(mount_unit, points))
    guard = GUARD.format(mounts=mounts, private=config.main.private, last=list_covers(config.main)[-1])
    return {
        "docker.service.d/xportal.conf": guard + STOP,
        "docker.socket.d/xportal.conf": guard + SOCKET.format(user=config.login_user),
        "docker-.scope.d/xportal.conf": NO_METADATA,
        HOME: HOME_UNIT,
        READY: READY_UNIT,
        FINISH: FINISH_UNIT,
        OPEN: OPEN_UNIT,
        APPEAR: APPEAR_UNIT + "".join(f"PathExists={path}\n" for path in config.drives[-1].devices),
        "xportal-save@.service": SAVE_UNIT,
        WATCH: WATCH_UNIT,
        LEAVE: LEAVE_UNIT.format(mounts=mounts),
    }


def mount_unit(point: str) -> str:
    """systemd's name for what is mounted at a directory."""
    return point.strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"


def install(config: AgentConfig, paths: Paths) -> None:
    """Write the units and let systemd read them."""
    for name, text in plan_units(config).items():
        write_whole(paths.systemd / name, text)
    run(["systemctl", "daemon-reload"])


def mask_docker() -> None:
    """From now on nothing starts Docker on this machine. Reboots do not change that."""
    run(["systemctl", "mask", "docker.socket", "docker.service"], check=False)


def is_pending(unit: str) -> bool:
    """Whether the unit is at work or about to be."""
    shown = run(["systemctl", "show", "-p", "ActiveState", "-p", "Job", unit], check=False).out
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
    return facts.get("ActiveState") in ("activating", "deactivating") or facts.get("Job", "0") not in ("", "0")


def save_unit(save: str) -> str:
    """The unit of one save."""
    return f"xportal-save@{save}.service"
