"""What a container on a real machine can reach: its drive's data, and nothing that makes the machine.

The containers here are root inside, with the drive mounted, and without `--privileged`, Docker's socket or a mount of
the home. `docs/security.md` has the table of these attempts.
"""

from __future__ import annotations

import shlex

import pytest

from tests.machines.agent_lab import MAKE_IMAGE, AgentLab, Machine, result, sentences
from tests.machines.lab import Lab

pytestmark = pytest.mark.machine

# The same image as the other tests have, and a Python.
PYTHON = """
cp -r --parents $(python3 -c 'import os; print(os.path.dirname(os.__file__))') $root
cp -L --parents $(ldd $(python3 -c 'import _ctypes; print(_ctypes.__file__)') | grep -o '/[^ ]*') $root
ln -s dash"""
MAKE_ATTACKER = MAKE_IMAGE.replace("dash sleep", "dash ls mv rm rmdir ln mkdir mount umount python3 sleep").replace(
    "\nln -s dash", PYTHON
)
# Ways to mount the drive, each with another propagation of mounts. All drives are there.
CONTAINERS = {
    "plain": "-v /v1:/v1 -v /vg:/v2",
    "slave": "-v /v1:/v1:rslave -v /vg:/v2:rslave",
    "shared": "-v /v1:/v1:rshared -v /vg:/v2:rshared",
    "elsewhere": "--mount type=bind,src=/v1,dst=/drives/1 -v /vg:/drives/2 --network host",
}
# Each is a program for sh, which finds a drive at $V1, another at $V2, and must fail. `call` is a system call.
ATTEMPTS = {
    "Docker's data: list": 'ls "$V1"/docker/volumes/',
    "Docker's data: make a privileged container by its files": 'mkdir -p "$V1"/docker/containers/evil',
    "the agent's files: read": 'cat "$V1"/.xportal/drive.json',
    "the agent's files: an on_notice, which runs with sudo": "echo '{}' > \"$V1\"/.xportal/alone.json",
    "the home: list": 'ls "$V1"/home/ec2-user/',
    "the home: a login key": 'mkdir -p "$V1"/home/ec2-user/.ssh || rm "$V1"/home/ec2-user',
    "covers: remove": 'rmdir "$V1"/docker',
    "covers: rename": 'mv "$V1"/.xportal "$V1"/aside',
    "covers: exchange with a directory": 'mkdir -p "$V1"/mine; call renameat2 "$V1"/mine "$V1"/home',
    "covers: unmount": 'umount "$V1"/home',
    "covers: make writable": 'mount -o remount,rw "$V1"/docker',
    "covers: unmount as root of a user namespace": 'call userns "$V1"/docker',
    "the drive: open an inode by its number": 'call handle "$V1"',
    "the drive: open its block device": 'call device "$V1"',
    "the drive: freeze it": 'call freeze "$V1"',
    "another drive: Docker's data, for a portal that has it first": 'mkdir -p "$V2"/docker/containers/evil',
    "another drive: a login key, for a portal that has it first": 'mkdir -p "$V2"/home/ec2-user/.ssh',
    "the machine: its files through a process": "ls /proc/1/root/etc/xportal",
    "the machine: a program that the kernel runs as root": "echo '|/v1/evil' > /proc/sys/kernel/core_pattern",
}
CALLS = """
import ctypes, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
what, *paths = sys.argv[1:]
def check(status):
    if status < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return status
if what == "renameat2":
    check(libc.syscall(316, -100, paths[0].encode(), -100, paths[1].encode(), 2))
elif what == "userns":
    check(libc.unshare(0x10000000 | 0x20000))
    check(libc.umount2(paths[0].encode(), 2))
elif what == "handle":
    fd = os.open(paths[0], os.O_RDONLY)
    handle = (ctypes.c_uint32 * 4)(8, 1, 2, 0)  # eight bytes; a number and a generation; the root directory's
    check(libc.open_by_handle_at(fd, handle, 0))
elif what == "device":
    number = os.stat(paths[0]).st_dev
    os.path.exists("/disk") or os.mknod("/disk", 0o600 | stat.S_IFBLK, number)
    check(libc.open(b"/disk", os.O_RDONLY))
elif what == "freeze":
    check(libc.ioctl(os.open(paths[0], os.O_RDONLY), ctypes.c_ulong(0xC0045877), 0))
"""


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> AgentLab:
    """Machines with agents."""
    return AgentLab(lab)


def attempt(machine: Machine, container: str) -> dict[str, tuple[int, str]]:
    """Of each attempt in a container the exit status, and what it said."""
    drives = "V1=/drives/1 V2=/drives/2" if container == "elsewhere" else "V1=/v1 V2=/v2"
    call = f'call() {{ python3 -c {shlex.quote(CALLS)} "$@"; }}'
    each = "\n".join(f'said=$( {{ {script}; }} 2>&1 < /dev/null); echo "=====$?:$said"' for script in ATTEMPTS.values())
    told = machine.run(f"docker exec -i {container} sh <<'END'\n{drives}\n{call}\n{each}\nEND").split("=====")[1:]
    parted = [said.partition(":") for said in told]
    return {name: (int(status), said.strip()) for name, (status, _, said) in zip(ATTEMPTS, parted, strict=True)}


def check_refused(told: dict[str, dict[str, tuple[int, str]]]) -> None:
    """All failed, and not because a program or a system call is not there."""
    went_through = [
        (who, what) for who, attempts in told.items() for what, (status, _) in attempts.items() if not status
    ]
    assert went_through == []
    odd = ("not found", "not implemented", "Traceback", "yntax")
    assert not [
        said for attempts in told.values() for _, said in attempts.values() if any(word in said for word in odd)
    ]


def test_from_a_container_nobody_becomes_root_or_reaches_another_portal_s_data(cloud: AgentLab) -> None:
    """Every attempt is refused, however the drive is mounted, and `rm -rf /v1/*` takes nothing but the user's data."""
    for volume in ("vol-0f1", "vol-0f2"):
        cloud.lab.hardware.create_volume(volume, 4, None)
    machine = cloud.boot("vol-0f1", "vol-0f2", blank=True)
    facts = result(machine.follow("boot"))["drives"]
    assert [(one["volume_id"], one["mount"]) for one in facts] == [("vol-0f1", "/v1"), ("vol-0f2", "/vg")]
    machine.run(MAKE_ATTACKER)
    for name, options in CONTAINERS.items():
        machine.run(f"docker run -d --init --name {name} {options} --restart always tiny sleep 9999")
    machine.run("echo mine > ~/notes; echo mine > /v1/data")
    assert machine.run("docker exec slave cat /v1/data") == "mine"
    before = {container: attempt(machine, container) for container in CONTAINERS}
    check_refused(before)
    assert "busy" in before["plain"]["covers: rename"][1]
    assert "Read-only" in before["plain"]["the home: a login key"][1]

    machine.run("docker exec plain sh -c 'rm -rf /v1/* /v1/.[!.]* || true'")
    assert machine.run("sudo ls /xportal/v1/.xportal/alone.json /v1/data 2>&1 || true").count("No such file") == 2
    machine.run("cat ~/notes; sudo test -s /xportal/v1/.xportal/drive.json; docker exec plain ls /v1")

    machine.run("mkdir /v1/sub; docker run -d --init --name neighbour -v /v1/sub:/sub tiny sleep 9999")
    machine.run("docker exec plain sh -c 'rmdir /v1/sub; ln -s / /v1/sub'")  # for the next start
    # Links where root writes: at the notice, and where its file is written before it takes its place.
    for name in ("xportal-notice.json", "xportal-notice.json.xportal-new"):
        machine.run(f"docker exec plain ln -sfn /etc/planted /v1/{name}")
    machine.run("docker exec plain mkdir /v2/xportal-notice.json")
    machine.run("cd / && sudo /opt/xportal/agent rehearse rehearsal-1")
    log = machine.follow("rehearsal-1")
    assert result(log)["faults"] == []
    assert "/vg/xportal-notice.json cannot be written" in sentences(log)
    assert machine.run("test -e /etc/planted || echo none; stat -c %F /vg/xportal-notice.json") == "none\ndirectory"
    notes = {one["name"]: one["note"] for one in machine.status()["containers"]}
    assert notes.pop("neighbour").startswith("is not started: /v1/sub leads off its drive, to /,")
    assert notes == dict.fromkeys(CONTAINERS)
    # What came back has its covers again, those that share their mounts with the machine, too.
    check_refused({container: attempt(machine, container) for container in CONTAINERS})
    result(machine.save("save-1"))
    assert machine.run("grep -cE ' (/xportal)?/v(1|g)' /proc/mounts || true") == "0"
    machine.off()


# What an agent of before leaves when it has opened the drive: no covers, no mount for root, no guard that knows them.
AS_BEFORE = """
sudo umount /v1/docker /v1/home /v1/.xportal /xportal/v1
sudo rm /etc/systemd/system/docker.service.d/xportal.conf /etc/systemd/system/docker.socket.d/xportal.conf
"""
# And Docker with its data-root there.
DOCKER_AS_BEFORE = """
sudo dnf install -y docker > /dev/null
sudo mkdir -p /etc/docker
echo '{"data-root": "/v1/docker"}' | sudo tee /etc/docker/daemon.json
sudo systemctl daemon-reload
sudo systemctl start docker
sudo chmod 666 /run/docker.sock
"""
LOOK = "docker exec train sh -c 'cat /layer /data/file /models/file /etc/hostname; echo /v1/*'; docker logs train"


@pytest.mark.all
def test_a_drive_of_before_comes_up_and_goes_back_to_an_xportal_of_before(cloud: AgentLab) -> None:
    """Docker finds what it wrote under the other path: layers, volumes, names, logs. Nothing on the drive moves."""
    cloud.lab.hardware.create_volume("vol-0f3", 4, None)
    first = cloud.boot("vol-0f3", blank=True)
    first.run(AS_BEFORE + DOCKER_AS_BEFORE + MAKE_IMAGE)
    first.run("sudo mkdir -p /v1/home/ec2-user/code; echo mine | sudo tee /v1/home/ec2-user/code/mine")
    options = "--init --restart always --hostname here -v /data -v models:/models -v /v1:/v1"
    first.run(f"docker run -d --name train {options} -v /v1/home/ec2-user/code:/code tiny sh -c 'echo up; sleep 9999'")
    first.run("docker run -d --init --name beside --restart always --network container:train tiny sleep 9999")
    first.run("docker run --name stopped -v /data tiny sh -c 'echo mine > /data/file'")
    first.run("docker exec train sh -c 'echo 1 > /layer; echo 2 > /data/file; echo 3 > /models/file'")
    told = first.run(LOOK).split()
    assert told[:5] == ["1", "2", "3", "here", "/v1/docker"]
    first.deliver()  # a newer xportal comes to the machine: Docker stops, and starts with the covers there
    noted = {one["name"]: one["note"] for one in result(first.follow("boot"))["containers"]}
    assert noted == {"train": None, "beside": None, "stopped": None}
    again = first.run(LOOK).split()
    assert (again[:4], again[-2:]) == (told[:4], ["up", "up"])
    first.fails("docker exec train cat /v1/home/ec2-user/code/mine")
    first.run("docker run -d --name new -v /data -v models:/models tiny sleep 9999")
    first.run("docker exec train cat /code/mine")
    assert result(first.save("save-1"))["faults"] == []
    first.off()

    second = cloud.boot("vol-0f3", generation=2)
    containers = {one["name"]: one["running"] for one in result(second.follow("boot"))["containers"]}
    assert containers == {"train": True, "beside": True, "stopped": False, "new": True}
    assert second.run(LOOK).split()[:4] == told[:4]
    assert second.run("docker exec train cat /code/mine; docker cp stopped:/data/file - | grep -ac mine") == "mine\n1"
    assert result(second.save("save-2"))["faults"] == []
    second.off()

    third = cloud.boot("vol-0f3", generation=3)
    third.run(AS_BEFORE + DOCKER_AS_BEFORE + "docker start train beside new")
    assert third.run(LOOK).split()[:5] == told[:5]
    assert third.run("docker exec train cat /code/mine; sudo cat /v1/home/ec2-user/code/mine") == "mine\nmine"
    third.off()
