"""The way onto a portal's machine: find it, log in with its pinned host key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from xportal.aws import compute, keys, network, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.model import LIVE
from xportal.errors import MachineGone, MachineLost, PortalNotUp
from xportal.machine.access import caller_cidr, key_file, public_key_of, write_login_key
from xportal.machine.images import LOGIN_USER
from xportal.portal.agent import AgentStatus, agent_status
from xportal.remote import Host, Login, connect
from xportal.spec import check_name

CONNECT_SECONDS = 60.0
LOOK_SECONDS = 5.0
# To the machine's own keys, which only root writes. A machine that an older xportal launched keeps them in the home.
ADD_KEY = """keys=/etc/xportal/keys/$1
test -e "$keys" || keys=/home/$1/.ssh/authorized_keys
exec tee -a "$keys"
"""


@dataclass(frozen=True)
class OpenPortal:
    """A portal that is up, with a connection to its machine."""

    name: str
    machine: Instance
    login: Login
    host: Host
    status: AgentStatus

    @property
    def gpu(self) -> bool:
        """Whether the machine has a GPU that containers can use."""
        return self.status.gpu is not None


@contextmanager
def open_portal(aws: Aws, name: str) -> Iterator[OpenPortal]:
    """A connection to the machine of portal `name`, in whatever phase. Raises PortalNotUp, MachineLost."""
    machine = get_machine(aws, name)
    login = login_for(aws, machine)
    with closing(connect(login, deadline=time.monotonic() + CONNECT_SECONDS)) as host:
        yield OpenPortal(name, machine, login, host, agent_status(host))


def find_machine(aws: Aws, name: str) -> Instance | None:
    """The live machine of portal `name`."""
    found = compute.list_instances(aws, tags.tag_filter(portal=check_name("portal", name)))
    return max((m for m in found if m.state in LIVE), key=lambda m: m.launched, default=None)


def get_machine(aws: Aws, name: str) -> Instance:
    """The live machine of portal `name`. Raises PortalNotUp."""
    machine = find_machine(aws, name)
    if machine is None:
        raise PortalNotUp(f'portal "{name}" is not up in {aws.region}', hint=f"xportal up {name}, or another --region")
    return machine


def look_after(aws: Aws, machine: Instance) -> Callable[[], None]:
    """For whoever waits for a machine: raises MachineGone if AWS says so, which is asked every few seconds at most."""
    portal = machine.tags.get(tags.PORTAL, "")
    next_look = 0.0

    def look() -> None:
        nonlocal next_look
        if time.monotonic() < next_look:
            return
        next_look = time.monotonic() + LOOK_SECONDS
        now = compute.find_instance(aws, machine.id)
        if now and now.state not in LIVE:
            why = f" ({now.state_reason})" if now.state_reason else ""
            raise MachineGone(
                f"{machine.id} is {now.state}{why}: nobody will answer there",
                hint=f"xportal up {portal} goes on from what its drive holds",
            )

    return look


def login_for(aws: Aws, machine: Instance) -> Login:
    """How to log in, once ssh is open to the address that this computer has now.

    A key that this computer does not have is replaced through EC2 Instance Connect.
    """
    group = network.find_security_group(aws, machine.vpc_id or "")
    if group:
        network.allow_ssh(aws, group, caller_cidr(aws.endpoint))
    if machine.public_address is None:
        raise MachineLost(f"{machine.id} has no public address", hint="its subnet must give public addresses")
    host_key = machine.tags.get(tags.HOST_KEY)
    if not host_key:
        raise MachineLost(f"{machine.id} carries no host key (tag {tags.HOST_KEY})", hint="xportal down, then up again")
    launch = machine.tags.get(tags.LAUNCH) or machine.id
    login = Login(machine.public_address, LOGIN_USER, key_file(launch), host_key)
    if not login.key_file.exists():
        _replace_login_key(aws, machine, launch, login)
    login.key_file.touch()  # it is in use: not to be forgotten
    return login


def _replace_login_key(aws: Aws, machine: Instance, launch: str, login: Login) -> None:
    """A new key, let in for a minute by Instance Connect, which then writes itself where it stays.

    Only then does it get its name: half a login is none, and the next command tries again.
    """
    path = write_login_key(f"{launch}.new")
    try:
        public = public_key_of(path).decode()
        keys.send_login_key(aws, machine.id, LOGIN_USER, public)
        once = replace(login, key_file=path)
        with closing(connect(once, deadline=time.monotonic() + CONNECT_SECONDS)) as host:
            host.run(["sudo", "sh", "-c", ADD_KEY, "add-key", LOGIN_USER], input=f"{public}\n".encode())
        path.rename(login.key_file)
    finally:
        path.unlink(missing_ok=True)
