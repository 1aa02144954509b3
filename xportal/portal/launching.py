"""The launch under the drive's lock: user data, security groups, offers in turn, and a second look at the lock."""

from __future__ import annotations

from xportal.agent.config import AgentConfig, DriveConfig
from xportal.aws import keys, network
from xportal.aws.errors import AwsError
from xportal.aws.records import Instance, KeyPair
from xportal.aws.roles import ensure_instance_profile
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.lifecycle import Story
from xportal.drive.model import DEVICE
from xportal.errors import DriveInUse, Unreachable
from xportal.machine.access import Claim, caller_cidr, get_host_key
from xportal.machine.images import LOGIN_USER
from xportal.machine.launch import LaunchOrder, discard, launch_first, without_role
from xportal.machine.offers import Offer
from xportal.machine.userdata import build
from xportal.portal.preparing import Preparation, drive_size
from xportal.portal.undo import Undo

MOUNT_POINT = "/v1"


def launch(
    aws: Aws, plan: Preparation, action: p.Launch, lock: KeyPair, claim: Claim, story: Story
) -> tuple[Instance, Offer]:
    """The first machine that AWS grants, still under our lock. Raises NoCapacity, AwsError, DriveInUse.

    If it raises for want of capacity or of the lock, nothing of the launch is left.
    """
    order = _order(aws, plan, action, lock, claim, _find_profile(aws, story))
    story.update(f"launching {plan.offers[0]}")
    with Undo(story.warn) as undo:
        machine, offer = launch_first(aws, order, plan.offers, _SecurityGroups(aws, undo).get, claim, story.say)
        _check_lock(aws, order, machine)
        undo.keep()
    return machine, offer


def _find_profile(aws: Aws, story: Story) -> str | None:
    """The machines' instance profile, unless this user can neither find nor make it: the role is worth no failure."""
    try:
        return ensure_instance_profile(aws)
    except (AwsError, Unreachable) as error:
        story.say(without_role(error.message))
        return None


def _order(
    aws: Aws, plan: Preparation, action: p.Launch, lock: KeyPair, claim: Claim, profile: str | None
) -> LaunchOrder:
    spec = plan.spec
    host_key = get_host_key(claim.launch)
    drive = DriveConfig(
        name=spec.drive,
        generation=action.generation,
        device=DEVICE,
        mount=MOUNT_POINT,
        blank=action.source is None,
    )
    config = AgentConfig(
        portal=spec.name,
        launch=claim.launch,
        region=aws.region,
        endpoint=aws.endpoint,
        drives=[drive],
        login_user=LOGIN_USER,
    )
    return LaunchOrder(
        portal=spec.name,
        drive=spec.drive,
        launch=claim.launch,
        lock_id=lock.id,
        lock_name=lock.name,
        image=plan.image,
        device=DEVICE,
        source=action.source,
        size_gib=drive_size(spec, action.source),
        generation=action.generation,
        architecture=plan.architecture,
        user_data=build(config, host_key),
        host_key=host_key.public,
        profile=profile,
    )


def _check_lock(aws: Aws, order: LaunchOrder, machine: Instance) -> None:
    """I3: the holder looks again; if the lock went to another, its copy goes, which nobody wrote to."""
    lock = keys.find_key_pair(aws, order.lock_name)
    if lock is None or lock.id != order.lock_id:
        discard(aws, machine, order)
        raise DriveInUse(
            f'the lock of drive "{order.drive}" was taken away during the launch; {machine.id} was ended again',
            hint="xportal status shows who has it",
        )


class _SecurityGroups:
    """One group per VPC, made when first needed, undone if nothing was launched."""

    def __init__(self, aws: Aws, undo: Undo) -> None:
        self._aws = aws
        self._undo = undo
        self._cidr = caller_cidr(aws.endpoint)
        self._ids: dict[str, str] = {}

    def get(self, vpc_id: str) -> str:
        """The group's id, open for ssh from this computer."""
        if vpc_id not in self._ids:
            group = network.find_security_group(self._aws, vpc_id)
            if group is None:
                self._undo.register("security group", lambda: self._delete(vpc_id))
                group = network.create_security_group(self._aws, vpc_id)
            network.allow_ssh(self._aws, group, self._cidr)
            self._ids[vpc_id] = group
        return self._ids[vpc_id]

    def _delete(self, vpc_id: str) -> None:
        group = network.find_security_group(self._aws, vpc_id)
        if group:
            network.delete_security_group(self._aws, group)
