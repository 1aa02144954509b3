"""Who keeps a drive busy, and ending them."""

from __future__ import annotations

import os
import pwd
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set, Tuple

from ..core.events import Log
from ..core.mounts import Mount, list_mounts, parse_mountinfo, try_unmount, unescape
from ..core.process import run, wait_until

ASK = (signal.SIGTERM, signal.SIGHUP)  # interactive shells ignore the first
FORCE = (signal.SIGKILL,)
TERM_SECONDS = 3.0
KILL_SECONDS = 5.0
FILE_SECONDS = 20.0  # in which a swap file or disk image is given up
# Kinds of filesystems whose server may be dead: to ask what is on them may take for ever.
REMOTE = ("nfs", "fuse", "cifs", "smb", "9p", "ceph", "lustre", "afs")


@dataclass(frozen=True)
class Holder:
    """A process that keeps a filesystem busy, and how."""

    pid: int
    user: str
    command: str
    how: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}, {self.user}: {self.how})"


def release(device: str, log: Log) -> Tuple[bool, List[str]]:
    """Name and end those who hold the device's filesystem, until it can be unmounted. Returns whether, and who."""
    ended = let_go_files(os.stat(device).st_rdev, log)
    if ended and try_unmount(device):
        return True, ended
    for signals, seconds in ((ASK, TERM_SECONDS), (FORCE, KILL_SECONDS)):
        ended += [who for who in end_holders(device, signals, seconds, log).values() if who not in ended]
        if try_unmount(device):
            return True, ended
    return False, ended


def let_go_files(device: int, log: Log) -> List[str]:
    """Swap files and disk images on the device's filesystem: these hold it without a process. Returns which.

    What is mounted of an image is written to it as it is unmounted; who holds that is named and ended, too.
    """
    ended = []
    for swap in list_swaps(device):
        log.say("unmount", f"The drive is held by the swap file {swap}: switching it off")
        run(["swapoff", swap], check=False, timeout=FILE_SECONDS)
        ended.append(f"swap file {swap}")
    for loop, file in list_loops(device).items():
        log.say("unmount", f"The drive is held by the disk image {file}, in use as {loop}: taking it off")
        ended += let_go_files(os.stat(loop).st_rdev, log)
        if not try_unmount(loop):
            ended += release(loop, log)[1]
        run(["losetup", "--detach", loop], check=False, timeout=FILE_SECONDS)
        ended.append(f"disk image {file}")
    return ended


def list_swaps(device: int) -> List[str]:
    """The swap files (or swap partitions) that are on a device, or are it."""
    lines = Path("/proc/swaps").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    return [path for path in (unescape(line.split()[0]) for line in lines) if device in devices_of(path)]


def list_loops(device: int) -> Dict[str, str]:
    """The loop devices whose file is on a device's filesystem, and the files."""
    loops = {}
    for backing in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        try:
            file = backing.read_text(encoding="utf-8", errors="replace").rstrip("\n")
        except OSError:  # it has just been taken off
            continue
        if device in devices_of(file):
            loops[f"/dev/{backing.parents[1].name}"] = file
    return loops


def devices_of(path: str) -> Set[int]:
    """The filesystem that a path is on, and the device that it is; nothing if it is not there."""
    try:
        facts = os.stat(path)
    except OSError:
        return set()
    return {facts.st_dev, facts.st_rdev}


def list_holders(devices: Set[int]) -> List[Holder]:
    """The processes that keep the filesystems with these st_dev busy, less this one and its ancestors."""
    spared = ancestors()
    remote = tuple(f"{mount.point}/" for mount in list_mounts() if mount.kind.startswith(REMOTE))
    holders = []
    for proc in list_processes():
        how = find_hold(proc, devices, remote) if int(proc.name) not in spared else None
        if how:
            holders.append(Holder(int(proc.name), user_of(proc), command_of(proc), how))
    return holders


def list_processes() -> List[Path]:
    """The directories of all processes in /proc."""
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def find_hold(proc: Path, devices: Set[int], remote: Tuple[str, ...] = ()) -> Optional[str]:
    """How a process holds one of the devices, if it does. A process that ends meanwhile holds nothing.

    Nothing is asked about files below `remote`.
    """
    try:
        for name, how in (("cwd", "works in it"), ("root", "has its root in it"), ("exe", "is a program on it")):
            if device_of(proc / name, remote) in devices:
                return how
        if any(device_of(handle, remote) in devices for handle in (proc / "fd").iterdir()):
            return "has a file open"
        mapped = {f"{os.major(device):02x}:{os.minor(device):02x}" for device in devices}
        if any(line.split(" ", 5)[3] in mapped for line in (proc / "maps").read_text(errors="replace").splitlines()):
            return "has mapped a file"
        return "has it mounted in a namespace of its own" if mounts_it(proc, devices) else None
    except (OSError, ValueError):
        return None


def mounts_it(proc: Path, devices: Set[int]) -> bool:
    """Whether the process's mount namespace is its own and has one of the devices in it, whatever is unmounted here."""
    if os.readlink(proc / "ns/mnt") == os.readlink("/proc/self/ns/mnt"):
        return False
    text = (proc / "mountinfo").read_text(errors="replace")
    return any(mount.number in devices and not mount.follows for mount in parse_mountinfo(text))


def device_of(link: Path, remote: Tuple[str, ...]) -> Optional[int]:
    """The filesystem a link in /proc leads into; None if it is gone, or leads below `remote`."""
    try:
        return None if f"{os.readlink(link)}/".startswith(remote) else os.stat(link).st_dev
    except OSError:
        return None


def ancestors() -> Set[int]:
    """This process and all it descends from."""
    pids: Set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        pid = parent_of(pid)
    return pids


def parent_of(pid: int) -> int:
    """A process's parent; 0 if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def user_of(proc: Path) -> str:
    """The name of the process's user."""
    uid = proc.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def command_of(proc: Path) -> str:
    """The process's command line, shortened."""
    words = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return words[:60] or (proc / "comm").read_text(errors="replace").strip()


def filesystems_on(device: int, mounts: List[Mount]) -> Set[int]:
    """The device's filesystem and the overlays that containers have on top of it, as st_dev.

    Not all that is mounted below it: the file of keys is a piece of the root disk, which everybody holds.
    """
    roots = [mount.point for mount in mounts if mount.number == device]
    uppers = [f"upperdir={root}/" for root in roots]
    on_top = {m.number for m in mounts if m.kind == "overlay" and any(upper in m.options for upper in uppers)}
    return {device, *on_top} - {os.stat("/").st_dev}


def end_holders(device: str, signals: Sequence[signal.Signals], seconds: float, log: Log) -> Dict[int, str]:
    """Signal everybody who holds the device's filesystem and wait a while for them to let go. Returns who they are."""
    devices = filesystems_on(os.stat(device).st_rdev, list_mounts())
    told = {}
    for holder in list_holders(devices):
        log.say("unmount", f"The drive is held by {holder}; sending {signals[0].name}")
        told[holder.pid] = str(holder)
        for number in signals:
            signal_process(holder.pid, number)
    wait_until(lambda: not list_holders(devices), seconds)
    return told


def signal_process(pid: int, number: signal.Signals) -> None:
    """Signal a process, which may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
