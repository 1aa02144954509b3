"""The launch under the drive's lock: user data, security groups, offers in turn, and a second look at the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from xportal.agent.core.config import AgentConfig, DriveConfig
from xportal.agent.full.proofs import proof_of, seal_of
from xportal.aws import keys, network
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance, KeyPair, Volume
from xportal.aws.roles import ensure_instance_profile
from xportal.aws.session import Aws
from xportal.drive.launched import LaunchedCopies, confirm, discard
from xportal.drive.locks import Heart
from xportal.errors import DriveInUse, NotOurs, Unreachable
from xportal.machine.access import Claim, get_host_key
from xportal.machine.images import LOGIN_USER
from xportal.machine.launch import DriveOrder, LaunchOrder, launch_first, without_role
from xportal.machine.offers import Offer
from xportal.machine.ssh_rules import let_in
from xportal.machine.userdata import build
from xportal.portal.up.plan import Preparation
from xportal.progress import Progress
from xportal.undo import Undo


def launch_machine(
    aws: Aws,
    plan: Preparation,
    drives: Sequence[DriveOrder],
    locks: Sequence[KeyPair],
    claim: Claim,
    progress: Progress,
) -> tuple[Instance, Offer]:
    """The first machine that AWS grants, confirmed under our locks. Raises NoCapacity, AwsError, DriveInUse.

    If it raises for want of capacity or of a lock, nothing of the launch is left.
    """
    order = _order(aws, plan, drives, locks, claim, _find_profile(aws, progress))
    beat = Heart(aws, claim.launch).beat
    give_back = partial(discard, aws, made=_made_by(order), beat=beat)
    progress.update(f"launching {plan.offers[0]}")
    with Undo(progress.warn) as undo:
        try:
            groups = _SecurityGroups(aws, undo, plan.spec.machine.ssh_from)
            machine, offer = launch_first(aws, order, plan.offers, groups.get, claim, progress.say, beat, give_back)
        except AwsError as error:
            if error.code != "InvalidKeyPair.NotFound":
                raise
            raise _lock_gone(locks[0].name, "nothing was launched") from error
        for lock in locks:
            _check_lock(aws, lock, machine, give_back)
        confirm(aws, machine, {drive.name: drive.generation for drive in drives})
        undo.keep()
    return machine, offer


def _find_profile(aws: Aws, progress: Progress) -> str | None:
    """The machines' instance profile, unless this user can neither find nor make it: the role is worth no failure."""
    try:
        return ensure_instance_profile(aws, progress.warn)
    except (AwsError, NotOurs, Unreachable) as error:
        progress.warn(without_role("; ".join(filter(None, [error.message, error.hint]))))
        return None


def _order(
    aws: Aws,
    plan: Preparation,
    drives: Sequence[DriveOrder],
    locks: Sequence[KeyPair],
    claim: Claim,
    profile: str | None,
) -> LaunchOrder:
    host_key = get_host_key(claim.launch)
    config = AgentConfig(
        portal=plan.spec.name,
        launch=claim.launch,
        region=aws.region,
        endpoint=aws.endpoint,
        drives=[DriveConfig(d.name, d.generation, device=d.device, mount=d.mount, blank=d.blank) for d in drives],
        login_user=LOGIN_USER,
        attach=any(isinstance(d.source, Volume) for d in drives),
    )
    return LaunchOrder(
        portal=plan.spec.name,
        launch=claim.launch,
        lock_ids=tuple(lock.id for lock in locks),
        key_name=locks[0].name,
        image=plan.image,
        drives=tuple(drives),
        architecture=plan.architecture,
        user_data=build(config, host_key),
        host_key=host_key.public,
        seal=",".join(seal_of(proof_of(host_key.private, drive.name), drive.name) for drive in drives),
        profile=profile,
        remembered=plan.spec.remembered,
    )


def _made_by(order: LaunchOrder) -> LaunchedCopies:
    sources = frozenset(drive.source.id if drive.source else None for drive in order.drives)
    return LaunchedCopies(order.launch, sources, tuple(d.device for d in order.drives) if order.attaches else ())


def _check_lock(aws: Aws, ours: KeyPair, machine: Instance, give_back: Callable[[Instance], bool]) -> None:
    """I3: the holder looks again; if the lock went to another, its copy goes, unless another `up` took that over."""
    lock = keys.find_key_pair(aws, ours.name)
    if lock is None or lock.id != ours.id:
        ended = give_back(machine)
        raise _lock_gone(ours.name, f"{machine.id} was ended again" if ended else f"another up uses {machine.id}")


def _lock_gone(name: str, left: str) -> DriveInUse:
    return DriveInUse(
        f"the lock {name} was taken away during the launch; {left}",
        hint="xportal status shows whether somebody else has it; xportal up tries again",
    )


class _SecurityGroups:
    """One group per VPC, made when first needed, undone if nothing was launched."""

    def __init__(self, aws: Aws, undo: Undo, asked: str | None) -> None:
        self._aws = aws
        self._undo = undo
        self._asked = asked
        self._ids: dict[str, str] = {}

    def get(self, vpc_id: str) -> str:
        """The group's id, open for ssh from this computer."""
        if vpc_id not in self._ids:
            group = network.find_security_group(self._aws, vpc_id)
            if group is None:
                self._undo.register("security group", lambda: self._delete(vpc_id))
                group = network.create_security_group(self._aws, vpc_id)
            let_in(self._aws, group, self._asked)
            self._ids[vpc_id] = group.id
        return self._ids[vpc_id]

    def _delete(self, vpc_id: str) -> None:
        group = network.find_security_group(self._aws, vpc_id)
        if group:
            network.delete_security_group(self._aws, group.id)
