"""What `up` would do: the drive's source, its size, the offers. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xportal.aws import catalogue, network, tags
from xportal.aws.records import Image, Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import AwsRefused, Refused, UsageError
from xportal.machine.images import get_machine_image
from xportal.machine.offers import Offer, rank_offers
from xportal.spec import DEFAULT_ARCHITECTURE, DEFAULT_SIZE_GIB, PortalSpec


@dataclass(frozen=True)
class Preparation:
    """What a launch needs besides the lock: `architecture` is the drive's, else the one asked for.

    `source` is the newest data: a volume that an earlier machine left is saved before the launch.
    """

    spec: PortalSpec
    offers: tuple[Offer, ...]
    image: Image
    source: Snapshot | Volume | None
    size_gib: int
    generation: int
    architecture: str


def prepare(aws: Aws, spec: PortalSpec, *, mine: str | None = None) -> Instance | Preparation:
    """The machine on which the portal is up already, or what a launch would take. `mine`: see drive.plan.

    Raises what stands in the way: DriveInUse, DriveForked, Refused, UsageError, AwsRefused.
    """
    drive = observe(aws, spec.drive)
    action = p.plan(p.Goal.UP, drive, portal=spec.name, mine=mine)
    if isinstance(action, p.Refuse):
        raise action.error
    if isinstance(action, p.Ready):
        return action.machine
    volume = max(drive.volumes, key=drive.generation_of, default=None)
    source = volume or drive.newest_snapshot()
    architecture = _architecture(spec, drive)
    spec = replace(spec, machine=replace(spec.machine, architecture=architecture))
    offers, image = _find_offers(aws, spec)
    return Preparation(
        spec, tuple(offers), image, source, drive_size(spec, source), _next_generation(drive), architecture
    )


def drive_size(spec: PortalSpec, source: Snapshot | Volume | None) -> int:
    """The size of the volume to be, in GiB. Raises UsageError if it would have to shrink."""
    if source is None:
        return spec.size_gib or DEFAULT_SIZE_GIB
    if spec.size_gib and spec.size_gib < source.size_gib:
        raise UsageError(
            f'drive "{spec.drive}" has {source.size_gib} GiB and cannot shrink to {spec.size_gib}',
            hint="drop --size, or give a larger one",
        )
    return spec.size_gib or source.size_gib


def _next_generation(drive: Drive) -> int:
    known = [drive.generation_of(v) for v in drive.volumes] + [drive.generation_of(s) for s in drive.snapshots]
    return max(known, default=0) + 1


def _architecture(spec: PortalSpec, drive: Drive) -> str:
    """I8: the drive remembers its CPU architecture, and offers must match it. The newest tag that there is counts."""
    items = [(drive.generation_of(v), v.tags) for v in drive.volumes]
    items += [(drive.generation_of(s), s.tags) for s in drive.snapshots]
    told = max(((g, t[tags.ARCHITECTURE]) for g, t in items if tags.ARCHITECTURE in t), default=(0, None))[1]
    asked = spec.machine.architecture
    if told and asked and told != asked:
        raise Refused(
            f'drive "{spec.drive}" holds {told} programs; a {asked} machine cannot run them',
            hint=f"drop --architecture, or use another portal for {asked}",
        )
    return asked or told or DEFAULT_ARCHITECTURE


def _find_offers(aws: Aws, spec: PortalSpec) -> tuple[list[Offer], Image]:
    machine = spec.machine
    subnets = network.list_default_subnets(aws)
    if not subnets:
        raise AwsRefused(
            f"{aws.region} has no default subnets", hint="aws ec2 create-default-vpc makes a default VPC with them"
        )
    # Named types must exist; some of the defaults may be missing in a region.
    named = catalogue.list_instance_types(aws, machine.types) if machine.types else []
    offered = catalogue.list_offered(aws, machine.candidate_types())
    names = [name for name in machine.candidate_types() if any(name == known for known, _ in offered)]
    if not names:
        wanted = ", ".join(machine.candidate_types())
        raise UsageError(f"no zone of {aws.region} offers {wanted}", hint="another --type or --region")
    types = named or catalogue.list_instance_types(aws, names)
    prices = {} if machine.on_demand else catalogue.spot_prices(aws, names)
    offers = _one_kind(rank_offers(machine, types, offered, prices, subnets))
    return offers, get_machine_image(aws, machine, gpu=offers[0].type.gpus > 0)


def _one_kind(offers: list[Offer]) -> list[Offer]:
    """GPU and CPU machines boot different images: those of the kind of the cheapest offer."""
    return [o for o in offers if (o.type.gpus > 0) == (offers[0].type.gpus > 0)]
