"""From where ssh is let in: one rule for each computer, in the security group of a VPC.

A rule's description says whose it is, so that a computer that moved takes back its own old rule and no other.
"""

from __future__ import annotations

import hashlib
import socket
from contextlib import suppress
from pathlib import Path

from xportal import local
from xportal.aws import network
from xportal.aws.errors import AwsError, is_forbidden
from xportal.aws.records import SecurityGroup
from xportal.aws.session import Aws
from xportal.machine.access import caller_cidr
from xportal.spec import SSH_FROM_HERE

FULL = "RulesPerSecurityGroupLimitExceeded"
ASKED = ", as asked for"


def let_in(aws: Aws, group: SecurityGroup, asked: str | None = None) -> str:
    """Let this computer in, and take back what let it in before; the CIDR.

    `asked` is a CIDR, which later calls go by, too, until it is SSH_FROM_HERE: then it is the address that AWS sees.
    Raises AwsError, Unreachable if that address is not known.
    """
    mine = _mine()
    before = next((cidr for cidr, whose in group.ssh.items() if whose == mine + ASKED), None)
    chosen = None if asked == SSH_FROM_HERE else asked or before
    cidr = chosen or caller_cidr(aws.endpoint)
    whose = mine + ASKED if chosen else mine
    own = [there for there, told in group.ssh.items() if told in (mine, mine + ASKED)]
    if group.ssh.get(cidr) in (mine, mine + ASKED) and group.ssh[cidr] != whose:
        network.forbid_ssh(aws, group.id, [cidr])
    elif cidr in group.ssh:
        _take_back(aws, group.id, [there for there in own if there != cidr])
        return cidr
    try:
        network.allow_ssh(aws, group.id, cidr, whose)
    except AwsError as error:
        if error.code != FULL:
            raise
        _make_room(aws, group, own, error)
        network.allow_ssh(aws, group.id, cidr, whose)
        return cidr
    _take_back(aws, group.id, [there for there in own if there != cidr])
    return cidr


def _take_back(aws: Aws, group_id: str, cidrs: list[str]) -> None:
    """Old rules of this computer. If this user may not, they stay: nobody else gets in by them that did not before."""
    try:
        network.forbid_ssh(aws, group_id, cidrs)
    except AwsError as error:
        if not is_forbidden(error):
            raise


def _make_room(aws: Aws, group: SecurityGroup, own: list[str], error: AwsError) -> None:
    if not own:
        raise AwsError(
            f"the security group {group.id} has all the rules that it may have ({FULL})",
            code=FULL,
            operation=error.operation,
            hint=f"aws ec2 describe-security-groups --group-ids {group.id} shows them; aws ec2 "
            f"revoke-security-group-ingress --group-id {group.id} --protocol tcp --port 22 --cidr CIDR removes one",
        ) from error
    network.forbid_ssh(aws, group.id, own)


def _mine() -> str:
    """Names this computer and its user, and tells nobody which they are."""
    told = [local.user_name(), socket.gethostname()]
    with suppress(OSError):  # not every system has one
        told.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip())
    return f"xportal {hashlib.sha256(' '.join(told).encode()).hexdigest()[:12]}"
