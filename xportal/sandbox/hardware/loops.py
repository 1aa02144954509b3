"""Loop devices: files as block devices. Nothing is remembered here, the kernel is asked."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

from xportal.errors import HardwareFailure

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_MAJOR = 7
_ATTEMPTS = 20  # another program may take the free device between our question and our use of it
_RELEASE_DEADLINE_S = 60.0
_PATIENCE_S = 2.0


def attach(file: Path) -> Path:
    """Put a file on a loop device, with direct I/O: what the device has acknowledged is in the file."""
    found = find(file)
    if found:
        return found
    problem = ""
    for _ in range(_ATTEMPTS):
        device = _free_device()
        done = subprocess.run(_attach_argv(device, file), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return device
        problem = done.stderr.strip()
    raise HardwareFailure(
        f"cannot put {file} on a loop device: {problem}",
        hint="loop devices need root and the kernel's loop driver (modprobe loop)",
    )


def find(file: Path) -> Path | None:
    """The loop device of a file, or None."""
    return attached_below(file.parent).get(file)


def attached_below(directory: Path) -> dict[Path, Path]:
    """Files below a directory to the loop devices they are on."""
    found = {}
    for entry in Path("/sys/block").glob("loop[0-9]*/loop/backing_file"):
        try:
            file = Path(entry.read_text().rstrip("\n"))
        except OSError:  # released meanwhile
            continue
        if directory in file.parents:
            found[file] = Path("/dev") / entry.parent.parent.name
    return found


def detach(device: Path) -> None:
    """Release a loop device, once nobody has it mounted. HardwareFailure when somebody keeps it.

    Waits for that: the kernel would detach a busy device later, in silence.
    """
    if not is_unused_within(device, _RELEASE_DEADLINE_S):
        raise HardwareFailure(
            f"{device} is still mounted somewhere", hint=f"grep {device.name} /proc/*/mountinfo names who"
        )
    _detach(device)


def let_go(device: Path) -> None:
    """Release a device; the kernel does it later if a mount namespace made meanwhile (unshare -m) still holds it."""
    is_unused_within(device, _PATIENCE_S)
    _detach(device)


def refresh_size(device: Path) -> None:
    """Let the device see that its file has grown."""
    done = subprocess.run(["losetup", "--set-capacity", str(device)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HardwareFailure(f"cannot resize {device}: {done.stderr.strip()}")


def ensure_node(device: Path) -> None:
    """Make the device's node where /dev is not the kernel's own (containers, chroots)."""
    if not device.exists():
        number = int(re.sub(r"\D", "", device.name))
        os.mknod(device, 0o660 | 0o060000, os.makedev(_LOOP_MAJOR, number))


def _attach_argv(device: Path, file: Path) -> list[str]:
    return ["losetup", "--direct-io=on", str(device), str(file)]


def _detach(device: Path) -> None:
    done = subprocess.run(["losetup", "--detach", str(device)], capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No such device" not in done.stderr:
        raise HardwareFailure(f"cannot release {device}: {done.stderr.strip()}")
    _forget_node(device)


def _free_device() -> Path:
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HardwareFailure(
            f"this computer has no usable loop devices: {error}", hint="run as root; try: modprobe loop"
        ) from error
    try:
        device = Path(f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}")
    finally:
        os.close(control)
    ensure_node(device)
    return device


def is_unused_within(device: Path, seconds: float) -> bool:
    """Whether nobody has the device mounted, at the latest after so long."""
    deadline = time.monotonic() + seconds
    while not _is_unused(device):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _is_unused(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise HardwareFailure(f"cannot look at {device}: {error}") from error
    return True


def _forget_node(device: Path) -> None:
    """Remove a node that `ensure_node` made; the kernel's /dev has its own order."""
    with open("/proc/mounts") as mounts:
        kernels_own = any(line.split()[1:3] == ["/dev", "devtmpfs"] for line in mounts)
    if not kernels_own and int(re.sub(r"\D", "", device.name)) >= 8:
        device.unlink(missing_ok=True)
