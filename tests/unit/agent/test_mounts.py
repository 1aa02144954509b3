"""Reading mountinfo; what is to be unmounted, and who would be ended for it."""

from __future__ import annotations

import os

from xportal.agent.core.mounts import parse_mountinfo, plan_unmounts
from xportal.agent.full.mount_holders import ancestors, filesystems_on

TABLE = r"""22 1 259:1 / / rw,relatime shared:1 - xfs /dev/nvme0n1p1 rw,seclabel
30 22 0:5 / /dev rw shared:2 - devtmpfs devtmpfs rw
40 22 259:4 / /v1 rw,noatime shared:3 - ext4 /dev/nvme1n1 rw
41 40 259:1 /home/u/.ssh/authorized_keys /v1/home/u/.ssh/authorized_keys rw shared:1 - xfs /dev/nvme0n1p1 rw
42 22 259:4 /home/u /home/u rw,noatime shared:3 - ext4 /dev/nvme1n1 rw
43 42 259:1 /home/u/.ssh/authorized_keys /home/u/.ssh/authorized_keys rw shared:1 - xfs /dev/nvme0n1p1 rw
44 40 0:50 / /v1/docker/overlay2/ab/merged rw master:9 - overlay overlay rw,lowerdir=/l,upperdir=/v1/docker/u,workdir=w
45 22 259:9 / /v1\040two rw shared:7 - ext4 /dev/nvme2n1 rw
46 22 0:60 / /other rw - overlay overlay rw,lowerdir=/l,upperdir=/var/u,workdir=/w
"""
DRIVE = os.makedev(259, 4)
ROOT = os.makedev(259, 1)


def test_everything_on_and_of_the_drive_is_unmounted_innermost_first() -> None:
    """The binds of the home directory and the keys, overlays left behind, then the drive; not its neighbour."""
    points = [mount.point for mount in plan_unmounts(parse_mountinfo(TABLE), DRIVE)]
    assert points == [
        "/v1/docker/overlay2/ab/merged",
        "/home/u/.ssh/authorized_keys",
        "/home/u",
        "/v1/home/u/.ssh/authorized_keys",
        "/v1",
    ]


def test_nobody_is_a_holder_for_being_on_the_root_disk() -> None:
    """The keys' file below the drive is a piece of the root disk: who uses that disk does not hold the drive."""
    assert filesystems_on(DRIVE, parse_mountinfo(TABLE)) == {DRIVE, os.makedev(0, 50)}
    assert ROOT not in filesystems_on(DRIVE, parse_mountinfo(TABLE))


def test_mountinfo_is_read_with_its_escapes_and_propagation() -> None:
    """Spaces in mount points; whether an unmount elsewhere takes the mount along."""
    mounts = {mount.point: mount for mount in parse_mountinfo(TABLE)}
    assert mounts["/v1 two"].source == "/dev/nvme2n1"
    assert mounts["/v1/docker/overlay2/ab/merged"].follows
    assert not mounts["/v1"].follows


def test_a_process_s_ancestors_are_never_ended() -> None:
    """The agent's own unit and all above it."""
    assert {os.getpid(), os.getppid() or os.getpid()} <= ancestors()
