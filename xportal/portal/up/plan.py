"""What `up` would do: the drive's source, its size, the offers. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xportal import foreign
from xportal.aws import catalogue, network, tags
from xportal.aws.devices import DEVICES
from xportal.aws.quotas import ask_quota, how_to_raise, quota_of
from xportal.aws.records import Image, Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.drive import plan as p
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import AwsRefused, Refused, UsageError
from xportal.machine.images import get_machine_image
from xportal.machine.launch import DriveOrder
from xportal.machine.limits import shortage
from xportal.machine.offers import Offer, rank_offers, surplus_of
from xportal.portal.find import find_machine
from xportal.portal.reporting import machine_report
from xportal.reports import OfferReport, PlannedDriveReport, PlanReport, QuotaReport
from xportal.spec import ARCHITECTURES, DEFAULT_ARCHITECTURE, DEFAULT_SIZE_GIB, DriveSpec, PortalSpec

MOUNT = "/v"  # the first drive is at /v1
MIB_IN_GIB = 1024


@dataclass(frozen=True)
class Preparation:
    """What a launch needs besides the locks: `architecture` is the drives', else the one asked for."""

    spec: PortalSpec
    offers: tuple[Offer, ...]
    image: Image
    drives: tuple[DriveOrder, ...]
    architecture: str


def prepare(aws: Aws, spec: PortalSpec, *, launch_id: str | None = None) -> Instance | Preparation:
    """The machine on which the portal is up already, or what a launch would take. `launch_id`: see drive.plan.

    Raises what stands in the way: DriveInUse, DriveForked, Refused, UsageError, AwsRefused.
    """
    spec = _with_drives(aws, spec)
    observed = [observe(aws, drive.name) for drive in spec.drives]
    actions = [p.plan(drive, p.Request(p.Goal.UP, spec.name, launch_id)) for drive in observed]
    for action in actions:
        if isinstance(action, p.Refuse):
            raise action.error
    ready = [action.machine for action in actions if isinstance(action, (p.Ready, p.Attach))]
    if len(ready) == len(actions):
        return ready[0]
    architecture = _architecture(spec, observed)
    spec = replace(spec, machine=replace(spec.machine, architecture=architecture))
    offers, image = _find_offers(aws, spec)
    drives = tuple(map(_plan_drive, range(len(observed)), spec.drives, observed))
    return Preparation(spec, tuple(offers), image, drives, architecture)


def plan_report(aws: Aws, spec: PortalSpec, plan: Instance | Preparation) -> PlanReport:
    """What `prepare` found, as an answer, and whether the account's quota is large enough."""
    containers = tuple(container.name for container in spec.file.containers) if spec.file else ()
    if isinstance(plan, Instance):
        return PlanReport(spec.name, machine_report(plan), (), (), plan.architecture, plan.image_id, None, containers)
    drives = (
        PlannedDriveReport(d.name, d.mount, d.source.id if d.source else None, d.size_gib, d.generation)
        for d in plan.drives
    )
    offers = (
        OfferReport(
            type=offer.type.name,
            zone=offer.zone,
            price=offer.price,
            memory_gib=offer.type.memory_mib / MIB_IN_GIB,
            gpus=offer.type.gpus,
            gpu_memory_gib=offer.type.gpu_memory_mib / MIB_IN_GIB,
            surplus=surplus_of(offer.type),
        )
        for offer in plan.offers
    )
    quota = _quota_report(aws, plan.offers[0])
    return PlanReport(
        spec.name, None, tuple(drives), tuple(offers), plan.architecture, plan.image.id, quota, containers
    )


def _quota_report(aws: Aws, offer: Offer) -> QuotaReport | None:
    quota = quota_of(offer.type.name, spot=offer.price is not None)
    if quota is None:
        return None
    quota, needed = ask_quota(aws, quota), offer.type.vcpus
    is_enough = quota.vcpus is not None and quota.vcpus >= needed
    problem = "" if is_enough else f"{shortage(aws, quota, needed)}; {how_to_raise(aws, quota, needed)}"
    return QuotaReport(quota.name, quota.code, quota.vcpus, needed, problem)


def _with_drives(aws: Aws, spec: PortalSpec) -> PortalSpec:
    """The spec with its drives named. Raises Refused if the portal is up with others."""
    machine = find_machine(aws, spec.name)
    there = tags.drive_names(machine.tags) if machine else ()
    if spec.drives and there and there != tuple(drive.name for drive in spec.drives):
        raise Refused(
            f'portal "{spec.name}" is up with drive {", ".join(there)}',
            hint=f"xportal down {spec.name} first, or another portal name",
        )
    names = there or (spec.name,)
    drives = spec.drives or tuple(DriveSpec(name, spec.size_gib if len(names) == 1 else None) for name in names)
    return replace(spec, drives=drives, size_gib=None)


def _plan_drive(number: int, wanted: DriveSpec, drive: Drive) -> DriveOrder:
    source = max(drive.volumes, key=drive.generation_of, default=None) or drive.newest_snapshot()
    return DriveOrder(
        name=wanted.name,
        device=DEVICES[number],
        mount=f"{MOUNT}{number + 1}",
        source=source,
        size_gib=drive_size(wanted, source),
        generation=drive.next_generation(),
    )


def drive_size(wanted: DriveSpec, source: Snapshot | Volume | None) -> int:
    """The size of the volume to be, in GiB. Raises UsageError if it would have to shrink."""
    if source is None:
        return wanted.size_gib or DEFAULT_SIZE_GIB
    if wanted.size_gib and wanted.size_gib < source.size_gib:
        raise UsageError(
            f'drive "{wanted.name}" has {source.size_gib} GiB and cannot shrink to {wanted.size_gib}',
            hint="give no size, or a larger one",
        )
    return wanted.size_gib or source.size_gib


def _architecture(spec: PortalSpec, drives: list[Drive]) -> str:
    """I8: a drive remembers its CPU architecture, and offers must match it."""
    told = {drive.name: found for drive in drives if (found := _told_architecture(drive))}
    asked = spec.machine.architecture
    wrong = next((name for name, found in told.items() if found != (asked or next(iter(told.values())))), None)
    if wrong:
        raise Refused(
            f'drive "{wrong}" holds {told[wrong]} programs; no machine of this portal could run them',
            hint="drop --architecture, or use another portal for each architecture",
        )
    return asked or next(iter(told.values()), DEFAULT_ARCHITECTURE)


def _told_architecture(drive: Drive) -> str | None:
    """The newest tag that there is."""
    told = [
        (drive.generation_of(copy), found)
        for copy in drive.copies
        if (found := foreign.one_of(copy.tags.get(tags.ARCHITECTURE), ARCHITECTURES))
    ]
    return max(told, default=(0, None))[1]


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
