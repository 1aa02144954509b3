"""Launch: one RunInstances call per offer, with the drive restored in the call, until one has capacity."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xportal.aws import compute, tags
from xportal.aws.devices import shows_its_disks
from xportal.aws.encryption import key_hint
from xportal.aws.errors import AwsError, is_in_doubt, is_transient
from xportal.aws.records import NO_CAPACITY, Image, Instance, Snapshot, Volume
from xportal.aws.roles import NO_SPOT_ROLE, create_spot_role
from xportal.aws.session import Aws
from xportal.errors import AwsRefused, MachineLost, NoCapacity, Unreachable, XportalError
from xportal.machine.access import Claim
from xportal.machine.limits import Limits, may_lag
from xportal.machine.offers import Offer

POLL_SECONDS = 1.0
START_SECONDS = 300.0  # from the accepted launch to `running`

# EC2's error codes that say: this offer not, another perhaps.
NEXT_OFFER = {
    "InsufficientInstanceCapacity",
    "UnfulfillableCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientCapacity",
    "SpotMaxPriceTooLow",
    "Unsupported",
    "IdempotentInstanceTerminated",  # an interrupted `up` of ours got it, and it is gone
}
# AWS is busy or does not know yet what it has just made; the ClientToken makes the same call again harmless.
NOT_YET = {"InvalidGroup.NotFound", "InvalidKeyPair.NotFound"}
ATTEMPTS = 5
# EC2 takes a while to know a new instance profile, and that it has a role; it says so in these words (Terraform and
# packer wait for them, too).
PROFILE_UNKNOWN = ("Invalid IAM Instance Profile name", "has no associated IAM Roles")
PROFILE_SECONDS = 120.0
PROFILE_POLL_SECONDS = 3.0
COUNT_SECONDS = 120.0  # in which AWS's count of vCPUs, and its roles, become what they are
COUNT_POLL_SECONDS = 5.0
# State reasons of an accepted launch that never ran: those that the next offer may not have, and the others.
NEXT_OFFER_REASONS = {NO_CAPACITY}
BROKEN_REASONS = {  # Client.InternalError is most often a KMS key that cannot be used
    "Client.InternalError",
    "Client.InvalidSnapshot.NotFound",
    "Client.VolumeLimitExceeded",
    "Server.InternalError",
}


@dataclass(frozen=True)
class DriveOrder:
    """A drive of a launch; `source` is a snapshot, a volume to be attached afterwards, or None for a blank one. In a
    plan that is not settled yet, a volume may have to be saved first.
    """

    name: str
    device: str
    mount: str
    source: Snapshot | Volume | None
    size_gib: int
    generation: int

    @property
    def blank(self) -> bool:
        """Whether it has no filesystem yet, as far as anybody knows: its first machine may have died too soon."""
        return self.source is None or tags.is_blank(self.source.tags, self.name)


@dataclass(frozen=True)
class LaunchOrder:
    """Everything about a launch but the offer. Its drives are all to be attached, or none."""

    portal: str
    launch: str
    lock_ids: tuple[str, ...]
    key_name: str
    image: Image
    drives: tuple[DriveOrder, ...]
    architecture: str
    user_data: bytes
    host_key: str
    seal: str = ""  # hashes of the proofs that the machine's final saves will show
    profile: str | None = None  # the instance profile with the role of our machines
    remembered: Mapping[str, str] = field(default_factory=dict)  # tags: what `up` was asked for

    @property
    def attaches(self) -> bool:
        """Whether the machine comes up without its drives."""
        return any(isinstance(drive.source, Volume) for drive in self.drives)


def launch_first(
    aws: Aws,
    order: LaunchOrder,
    offers: Sequence[Offer],
    group_of: Callable[[str], str],
    claim: Claim,
    say: Callable[[str], None],
    beat: Callable[[], None],
    discard: Callable[[Instance], object],
) -> tuple[Instance, Offer]:
    """The first machine that AWS grants, `running`; whoever asked for it has to confirm it (see drive.launched).

    `group_of` gives the security group of a VPC; `beat` is called while AWS is waited for; `discard` ends a machine
    that never ran, and deletes its copies of the drives. `claim.in_doubt` stays True
    if it is not known whether AWS granted a machine. Raises NoCapacity when every offer was refused for capacity,
    AwsError when AWS refuses for another reason. No offer that failed leaves a volume.
    """
    limits, tried = Limits(aws), 0
    for offer in offers:
        if not limits.permit(offer):
            continue
        beat()
        request = run_request(order, offer, group_of(offer.subnet.vpc_id))
        try:
            instance = _run_with_patience(aws, request, offer, claim, say, beat)
        except AwsError as error:
            if error.code in NEXT_OFFER:
                tried += 1
            elif not limits.learn(error, offer):
                raise
            say(f"no machine: {offer} ({error.code})")
            continue
        tried += 1
        started = _wait_running(aws, instance, beat)
        if started.state == "running":
            return started, offer
        reason = started.state_reason or started.state
        say(f"no machine: {offer} ({reason})")
        if reason in NEXT_OFFER_REASONS | BROKEN_REASONS:
            discard(started)
        claim.in_doubt = False
        if reason not in NEXT_OFFER_REASONS:
            raise _ended_again(aws, started, offer, reason)
    refusal = limits.refusal
    if refusal and not tried:
        raise refusal
    raise NoCapacity(
        f"no capacity in any of {tried} offer{'s' if tried != 1 else ''}"
        + (f", and the others are refused: {refusal.message}" if refusal else ""),
        hint="try again later, allow more with --type, or pay the full price with --on-demand"
        + (f"; {refusal.hint}" if refusal else ""),
    )


def _ended_again(aws: Aws, machine: Instance, offer: Offer, reason: str) -> AwsRefused:
    hint = "xportal status and the AWS console show what is left; the same command tries again"
    if reason == "Client.InternalError":
        hint = key_hint(aws)
    return AwsRefused(
        f"AWS accepted {machine.id} ({offer}) and ended it again: {machine.state_message or reason} ({reason})",
        hint=hint,
    )


def run_request(order: LaunchOrder, offer: Offer, group_id: str) -> dict[str, Any]:
    """The parameters of RunInstances."""
    names = ",".join(drive.name for drive in order.drives)
    ours = {tags.OURS: "1", tags.PORTAL: order.portal, tags.DRIVE: names, tags.LAUNCH: order.launch}
    sealed = {tags.SEAL: order.seal} if order.seal else {}
    blank = ",".join(drive.name for drive in order.drives if drive.blank)
    told = {**order.remembered, **({tags.BLANK: blank} if blank else {})}
    drive = {**ours, **sealed, tags.ARCHITECTURE: order.architecture, **told}
    # Whatever the image says. Some organizations refuse launches with a disk that is not encrypted.
    root: dict[str, Any] = {"DeleteOnTermination": True, "Encrypted": True}
    machine = {
        **ours,
        **sealed,
        **order.remembered,
        tags.NAME: order.portal,
        tags.HOST_KEY: order.host_key,
        tags.PRICE: "" if offer.price is None else str(offer.price),
        **({tags.AWAITS: ",".join(str(drive.generation) for drive in order.drives)} if order.attaches else {}),
    }
    request: dict[str, Any] = {
        **({"IamInstanceProfile": {"Name": order.profile}} if order.profile else {}),
        "ImageId": order.image.id,
        "InstanceType": offer.type.name,
        "MinCount": 1,
        "MaxCount": 1,
        "KeyName": order.key_name,
        "UserData": order.user_data,
        "ClientToken": client_token(order.lock_ids, offer, "attach" if order.attaches else ""),
        "BlockDeviceMappings": [
            {"DeviceName": order.image.root_device, "Ebs": root},
            *({"DeviceName": d.device, "Ebs": _disk(d)} for d in order.drives if not isinstance(d.source, Volume)),
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": offer.subnet.id,
                "Groups": [group_id],
                "AssociatePublicIpAddress": True,
            }
        ],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": tags.to_aws(machine)},
            {"ResourceType": "volume", "Tags": tags.to_aws(drive)},
        ],
    }
    if offer.price is not None:
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
        }
        request["TagSpecifications"].append(
            {"ResourceType": "spot-instances-request", "Tags": tags.to_aws(ours)},
        )
    return request


def _disk(drive: DriveOrder) -> dict[str, Any]:
    source = {"SnapshotId": drive.source.id} if drive.source else {}
    kind = {"VolumeSize": drive.size_gib, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": False}
    return source | kind


def client_token(lock_ids: Sequence[str], offer: Offer, way: str = "") -> str:
    """Makes our own retries of one offer harmless; it is no lock. `way` parts requests that differ in their disks."""
    return hashlib.sha256(f"{' '.join(lock_ids)} {offer.type.name} {offer.zone}{way}".encode()).hexdigest()


def _run_with_patience(
    aws: Aws,
    request: dict[str, Any],
    offer: Offer,
    claim: Claim,
    say: Callable[[str], None],
    beat: Callable[[], None],
) -> Instance:
    """Run it, once AWS counts those of our machines no more that have just ended, and has made its role for spot."""
    code, deadline = "", 0.0
    while True:
        try:
            return _run_with_role(aws, request, claim, say, beat)
        except AwsError as error:
            if error.code != code:
                if not (error.code == NO_SPOT_ROLE and create_spot_role(aws)) and not may_lag(aws, error, offer):
                    raise
                say(f"{offer.type.name}: {error.code}; trying again for {COUNT_SECONDS / 60:.0f} minutes")
                code, deadline = error.code, aws.clock.monotonic() + COUNT_SECONDS
            elif aws.clock.monotonic() > deadline:
                raise
        beat()
        aws.clock.sleep(COUNT_POLL_SECONDS)  # AWS can only be asked again


def _run_with_role(
    aws: Aws, request: dict[str, Any], claim: Claim, say: Callable[[str], None], beat: Callable[[], None]
) -> Instance:
    """Run it with the instance profile, once EC2 knows that; without, if this user may not pass its role on, or EC2
    does not know it in the end.
    """
    deadline = aws.clock.monotonic() + PROFILE_SECONDS
    while True:
        try:
            return _run(aws, request, claim)
        except AwsError as error:
            if "IamInstanceProfile" not in request:
                raise
            is_unknown = any(words in error.message for words in PROFILE_UNKNOWN)
            if is_unknown and aws.clock.monotonic() <= deadline:
                beat()
                aws.clock.sleep(PROFILE_POLL_SECONDS)
            elif is_unknown or (error.code == "UnauthorizedOperation" and error.action in ("", "iam:PassRole")):
                say(without_role(error.message))
                request = {key: value for key, value in request.items() if key != "IamInstanceProfile"}
            else:
                raise


def without_role(why: str) -> str:
    """What a machine without the role does not do, and who does it then."""
    return (
        f"the machine has no role that it could use ({why}): on AWS's termination notice it will save and unmount the "
        "drive, and the next xportal up or sweep takes the snapshot"
    )


def _run(aws: Aws, request: dict[str, Any], claim: Claim) -> Instance:
    claim.in_doubt = True
    doubtful = False  # of an earlier attempt, which only what AWS says of the offer itself settles: it has the token
    for attempt in range(ATTEMPTS):
        try:
            return compute.run_instance(aws, request)
        except AwsError as error:
            if (
                error.code == "IdempotentParameterMismatch"
            ):  # an `up` of ours that was cut off asked a little differently
                return _granted_before(aws, request["ClientToken"], error)
            doubtful = is_in_doubt(error) or (doubtful and error.code not in NEXT_OFFER)
            claim.in_doubt = doubtful
            if attempt == ATTEMPTS - 1 or not (is_transient(error) or error.code in NOT_YET):
                raise
        except Unreachable:
            doubtful = True
            if attempt == ATTEMPTS - 1:
                raise
        except XportalError:
            claim.in_doubt = doubtful
            raise
        aws.clock.sleep(POLL_SECONDS * 2**attempt * (0.5 + random.random()))
    raise AssertionError("unreachable")


def _granted_before(aws: Aws, token: str, error: AwsError) -> Instance:
    found = compute.list_instances(aws, [{"Name": "client-token", "Values": [token]}])
    if not found:
        raise error
    return found[0]


def _wait_running(aws: Aws, instance: Instance, beat: Callable[[], None]) -> Instance:
    """The instance, running or terminated. Raises MachineLost after five minutes."""

    def is_settled(found: Instance) -> bool:
        is_reachable = found.state == "running" and bool(found.public_address)
        return found.state == "terminated" or (is_reachable and shows_its_disks(found))

    found = compute.wait_for_instance(aws, instance.id, is_settled, START_SECONDS, beat)
    if found:
        return found
    raise MachineLost(
        f"{instance.id} did not become running with a public address and all its disks in {START_SECONDS:.0f} s",
        hint="the subnet must give public addresses; xportal down ends the machine",
        billed=(f"{instance.id} {instance.type}",),
    )
