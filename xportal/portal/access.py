"""The way onto a portal's machine: find it, log in with its pinned host key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xportal import foreign
from xportal.aws import compute, keys, network, tags
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.model import LIVE
from xportal.errors import KeyRefused, LoginRefused, MachineGone, MachineLost, Unreachable, XportalError
from xportal.machine.access import (
    find_host_key,
    find_public_key,
    key_file,
    mark_used,
    public_key_of,
    write_next_login_key,
)
from xportal.machine.images import LOGIN_USER
from xportal.machine.ssh_rules import let_in
from xportal.portal.agent import AgentStatus, agent_status
from xportal.portal.find import find_machine
from xportal.portal.names import not_up
from xportal.portal.prices import machine_cost
from xportal.remote import Host, Login, connect

if TYPE_CHECKING:
    from xportal.container import Engine

Connect = Callable[..., Host]  # what stands for `connect`
CONNECT_SECONDS = 60.0
LOOK_SECONDS = 5.0
REFUSED_SECONDS = 5.0  # a machine that is long up knows its login key, or does not
BOOT_SECONDS = 120.0  # from its launch on, in which cloud-init may not have written it yet
# To the machine's own keys, which only root writes. A machine that an older xportal launched keeps them in the home.
ADD_KEY = """set -e
keys=/etc/xportal/keys/$1
grep -q "^AuthorizedKeysFile .*/etc/xportal/keys" /etc/ssh/sshd_config || keys=/home/$1/.ssh/authorized_keys
mkdir -p "${keys%/*}"
[ -z "$(tail -c 1 "$keys" 2> /dev/null)" ] || echo >> "$keys"
cat >> "$keys"
chmod go-w "$keys"
"""


@dataclass(frozen=True)
class OpenPortal:
    """A portal that is up, with a connection to its machine, and the way to another one should it break."""

    name: str
    machine: Instance
    login: Login
    host: Host
    status: AgentStatus
    reconnect: Callable[[], Host]

    @property
    def gpu(self) -> bool:
        """Whether the machine has a GPU that containers can use."""
        return self.status.gpu is not None


@contextmanager
def open_portal(aws: Aws, name: str, tell: Callable[[str], None]) -> Iterator[OpenPortal]:
    """A connection to the machine of portal `name`, in whatever phase; `tell` is told if it does not answer soon.

    Raises PortalNotUp, MachineLost, MachineGone as soon as AWS says that it is.
    """
    machine = get_machine(aws, name)

    def enter() -> Host:
        return log_in(aws, machine, seconds=CONNECT_SECONDS, look=look_after(aws, machine), tell=tell)

    with closing(enter()) as host:
        yield OpenPortal(name, machine, login_of(machine), host, agent_status(host), enter)


@contextmanager
def engine_of(host: Host, machine: Instance, status: AgentStatus) -> Iterator[Engine]:
    """The Docker of a portal's machine, over a connection to it. Raises DockerFailed."""
    from xportal.container import Engine

    with host.docker() as client:
        durable = (*(drive.mount for drive in status.drives), f"/home/{LOGIN_USER}")
        yield Engine(client, tags.portal_name(machine.tags), gpu=status.gpu is not None, durable=durable)


def get_machine(aws: Aws, name: str) -> Instance:
    """The live machine of portal `name`. Raises PortalNotUp, which tells a name that nobody knows from one at rest."""
    machine = find_machine(aws, name)
    if machine is None:
        raise not_up(aws, name)
    return machine


def look_after(aws: Aws, machine: Instance) -> Callable[[], None]:
    """For whoever waits for a machine: raises MachineGone if AWS says so, which is asked every few seconds at most."""
    portal = tags.portal_name(machine.tags)
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


def _unheard(_: str) -> None:
    """For who has nobody to tell."""


def log_in(
    aws: Aws,
    machine: Instance,
    *,
    seconds: float,
    look: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = _unheard,
    dial: Connect | None = None,
) -> Host:
    """A connection to a portal's machine, within so many seconds. `look` and `tell`: see `connect`, which `dial`
    stands for.

    A login key that the machine refuses, as when somebody has taken it out of its keys, is replaced.
    Raises MachineLost; LoginRefused if another machine answers, KeyRefused if the key cannot be replaced either.
    """
    login = login_for(aws, machine, tell, dial)
    try:
        late, deadline = _key_may_be_late(aws, machine), time.monotonic() + seconds
        return (dial or connect)(login, deadline=deadline, look=look, tell=tell, key_may_be_late=late)
    except KeyRefused:
        replace_login_key(aws, machine, tell, dial)
        deadline = time.monotonic() + seconds
        return (dial or connect)(login, deadline=deadline, look=look, tell=tell, key_may_be_late=REFUSED_SECONDS)


def login_for(
    aws: Aws, machine: Instance, tell: Callable[[str], None] = _unheard, dial: Connect | None = None
) -> Login:
    """How to log in, once ssh is open to the address that this computer has now, if that can be had.

    A key that this computer does not have is replaced through EC2 Instance Connect.
    """
    source, closed = open_ssh(aws, machine)
    login = replace(login_of(machine), let_in=source, closed=closed)
    if find_public_key(login.key_file) is None:
        replace_login_key(aws, machine, tell, dial)
    mark_used(login.key_file)
    return login


def open_ssh(aws: Aws, machine: Instance, asked: str | None = None) -> tuple[str, str]:
    """Let this computer in: from which CIDR (see `let_in`), and what was said if that was refused. Then it may be open
    all the same.
    """
    try:
        group = network.find_security_group(aws, machine.vpc_id or "")
        return (let_in(aws, group, asked), "") if group else ("", "")
    except (AwsError, Unreachable) as error:
        return "", f"it could not be opened to this computer: {error.message}"


def login_of(machine: Instance) -> Login:
    """Where a machine is, and what it must answer with. Raises MachineLost if its address or host key is not told,
    LoginRefused if its tag tells another host key than this computer gave it.
    """
    if machine.public_address is None:
        raise MachineLost(f"{machine.id} has no public address", hint="its subnet must give public addresses")
    launch = _launch_of(machine)
    told, known = foreign.host_key(machine.tags.get(tags.HOST_KEY, "")), find_host_key(launch)
    if told and known and told != known:
        put_back = f"--tags 'Key={tags.HOST_KEY},Value={known}'"
        raise LoginRefused(
            f"{machine.id}: its tag {tags.HOST_KEY} tells another host key than this computer gave it at its launch; "
            "somebody has changed the tag, and nothing is sent there",
            hint=f"aws ec2 create-tags --resources {machine.id} {put_back} puts it back",
            billed=(machine_cost(machine),),
        )
    host_key = known or told
    if host_key is None:
        raise MachineLost(f"{machine.id} carries no host key (tag {tags.HOST_KEY})", hint="xportal down, then up again")
    return Login(machine.public_address, LOGIN_USER, key_file(launch), host_key)


def replace_login_key(
    aws: Aws, machine: Instance, tell: Callable[[str], None] = _unheard, dial: Connect | None = None
) -> None:
    """A new login key, let in for a minute by EC2 Instance Connect, which then writes itself where it stays.

    Only then does it get its name: half a login is none, and the next command tries again. Where it cannot be written,
    as on a full drive, the minute is enough for this command, and the next one does the same. Raises KeyRefused if
    Instance Connect is refused, by AWS or by the machine; MachineLost.
    """
    login, path = login_of(machine), write_next_login_key(_launch_of(machine))
    try:
        public = public_key_of(path).decode()
        keys.send_login_key(aws, machine.id, LOGIN_USER, public)
        once, deadline = replace(login, key_file=path), time.monotonic() + CONNECT_SECONDS
        late, look = _key_may_be_late(aws, machine), look_after(aws, machine)
        with closing((dial or connect)(once, deadline=deadline, look=look, tell=tell, key_may_be_late=late)) as host:
            host.run(["sudo", "sh", "-c", ADD_KEY, "add-key", LOGIN_USER], input=f"{public}\n".encode(), check=False)
        path.rename(login.key_file)
    except (AwsError, KeyRefused) as error:
        raise _locked_out(machine, error) from error
    finally:
        path.unlink(missing_ok=True)


def _key_may_be_late(aws: Aws, machine: Instance) -> float:
    """For how many seconds a machine may refuse a key that is right."""
    return max(REFUSED_SECONDS, BOOT_SECONDS - (aws.now() - machine.launched).total_seconds())


def _locked_out(machine: Instance, error: XportalError) -> KeyRefused:
    portal = tags.portal_name(machine.tags)
    return KeyRefused(
        f"{machine.id} lets no login key of this computer in, and EC2 Instance Connect gives it no new one: "
        f"{error.message}",
        hint=f"xportal down {portal} saves it all the same: its shutdown saves. To get in, allow "
        "ec2-instance-connect:SendSSHPublicKey, or put the launch's key back into /etc/xportal/keys on the machine",
        billed=(machine_cost(machine),),
    )


def _launch_of(machine: Instance) -> str:
    return foreign.file_stem(machine.tags.get(tags.LAUNCH, "")) or machine.id
