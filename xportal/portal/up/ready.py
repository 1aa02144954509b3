"""From a running machine to a portal that can be worked on: ssh, the drive open, the containers back."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

from xportal.aws import catalogue, compute, tags
from xportal.aws.devices import device_of, shows_its_disks
from xportal.aws.lag import SHOWN_SECONDS
from xportal.aws.records import Instance, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag
from xportal.drive.choose import follow
from xportal.drive.launched import confirm
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.errors import GoingDown, MachineGone, MachineLost, Refused, XportalError
from xportal.machine.launch import without_role
from xportal.portal.access import engine_of, log_in, look_after, open_ssh
from xportal.portal.agent import (
    AGAIN_SECONDS,
    AgentStatus,
    Leaving,
    agent_status,
    change_settings,
    deliver,
    finish_boot,
    keep_spec,
    remember,
    role_problem,
    try_again,
)
from xportal.portal.find import drive_volumes
from xportal.portal.prices import machine_cost, price_of
from xportal.progress import Progress
from xportal.remote import Host
from xportal.reports import AwakeDriveReport, SpecContainerReport, SpecReport
from xportal.spec import FileSpec, PortalSpec

CONNECT_SECONDS = 300.0  # a GPU image's root disk loads lazily
POLL_SECONDS = 1.0
BEFORE_READY = ("opening", "open")


def wait_ready(
    aws: Aws, spec: PortalSpec, machine: Instance, progress: Progress, *, new: bool
) -> tuple[AgentStatus, SpecReport | None, dict[str, float]]:
    """Log in, and follow the agent until the drive is open and the containers are back, and those of the spec's file
    are as it defines them; what took how long (s).

    Of a machine that is not new and is ready already, the boot is not told again.
    Raises MachineLost or Refused, with the machine still running and billed.
    """
    began = time.monotonic()
    progress.update(f"waiting for ssh on {machine.public_address}")
    try:
        if spec.machine.ssh_from:
            open_ssh(aws, machine, spec.machine.ssh_from)
        look = look_after(aws, machine)
        with closing(log_in(aws, machine, seconds=CONNECT_SECONDS, look=look, tell=progress.update)) as host:
            connected = time.monotonic()
            deliver(host)
            remember(host, spec.remembered)
            status = agent_status(host)
            if status.phase == "failed":
                status = try_again(host)
            boots = new or status.phase in BEFORE_READY
            if boots:
                status = _finish(host, progress)
            if status.phase == "failed" and (status := try_again(host)).phase != "failed":
                status = _finish(host, progress)
            check_ready(machine, status)
            if new and machine.profile_arn and (problem := role_problem(host)):
                progress.warn(without_role(problem))
            change_settings(host, spec.alone if boots else (spec.asked or spec).alone)
            done = _follow_file(host, spec.file, machine, status, progress) if spec.file else None
            now = agent_status(host)
            status = replace(status, settings=now.settings, containers=now.containers if done else status.containers)
    except MachineGone:  # nothing of it is billed
        raise
    except MachineLost as error:
        portal = tags.portal_name(machine.tags)
        error.hint = error.hint or f"xportal ssh {portal} to look; xportal down {portal} saves and ends it"
        error.billed = (machine_cost(machine),)
        raise
    _note_filesystems(aws, machine)
    return status, done, {"ssh": connected - began, "ready": time.monotonic() - connected}


def _follow_file(host: Host, file: FileSpec, machine: Instance, status: AgentStatus, progress: Progress) -> SpecReport:
    """Keep the file on the drive, and make the containers that it defines."""
    from xportal.portal.converge import converge

    try:
        keep_spec(host, file)
    except MachineLost as error:  # as on a full drive; no `up` fails for it
        progress.warn(f"xportal spec will not tell the spec of this up: {error.message}")
    containers: tuple[SpecContainerReport, ...] = ()
    if file.containers:
        try:
            with engine_of(host, machine, status) as engine:
                containers = converge(engine, file, progress)
        except XportalError as error:
            error.billed = (machine_cost(machine),)
            raise
    return SpecReport(file.follows.file, file.follows.digest, containers)


def _finish(host: Host, progress: Progress) -> AgentStatus:
    """How the boot has ended. The machine may have begun anew with one that failed, as we heard of that."""
    deadline = time.monotonic() + AGAIN_SECONDS
    while True:
        finish_boot(host, progress.say)
        status = agent_status(host)
        if status.phase not in BEFORE_READY or time.monotonic() > deadline:
            return status


def check_ready(machine: Instance, status: AgentStatus) -> None:
    """Raises Refused on a machine that is being brought down, MachineLost on one that could not open its drive."""
    portal = tags.portal_name(machine.tags)
    if status.phase in ("saving", "saved"):
        why = why_leaving(status)
        if status.leaving and status.leaving.why == "rehearsal":
            raise Refused(f"{machine.id}: {why}", hint="again in a minute", billed=(machine_cost(machine),))
        raise GoingDown(
            f'portal "{portal}" is being brought down: {why}; its drive has left {machine.id}, or is leaving it',
            hint=f"xportal down {portal} finishes it; then xportal up {portal}",
            billed=(machine_cost(machine),),
        )
    if status.phase != "ready":
        raise MachineLost(f"{machine.id} is not usable: {status.error or status.phase}")


def why_leaving(status: AgentStatus) -> str:
    """Why a machine saves, or has saved, as a clause."""
    leaving = status.leaving or Leaving("down")
    at = f" at {leaving.time}" if leaving.time else ""
    now = "it is saving" if status.phase == "saving" else "it has saved"
    return {
        "notice": f"AWS takes the machine back{at}: {now}",
        "idle": f"nobody used the machine for its idle minutes: {now}, and ends itself",
        "shutdown": f"the machine is shutting down: {now}",
        "rehearsal": "a rehearsal is at work, and brings everything back",
    }.get(leaving.why, f"a down is at work: {now}")


def adopt(aws: Aws, spec: PortalSpec, machine: Instance, progress: Progress) -> Instance:
    """A machine that is up already, once it runs, if it is what the spec asks for. Raises Refused, MachineLost.

    Its drive is kept from going with it.
    """
    deadline = aws.clock.monotonic() + CONNECT_SECONDS
    while machine.state == "pending" and aws.clock.monotonic() < deadline:
        progress.update(f"{machine.id} is {machine.state}")
        aws.clock.sleep(POLL_SECONDS)  # AWS can only be asked again
        machine = compute.find_instance(aws, machine.id) or machine
    if not shows_its_disks(machine):  # it may have begun to run just now, or a disk was taken off by hand
        shown = compute.wait_for_instance(aws, machine.id, shows_its_disks, SHOWN_SECONDS, lambda: None)
        machine = shown or machine
    misfits = _misfits(aws, spec, machine)
    if misfits:
        raise Refused(
            f'portal "{spec.name}" is up on {machine.id}, {machine.type}: {", ".join(misfits)}',
            hint=f"xportal down {spec.name} first: everything comes back on the other machine",
            billed=(machine_cost(machine),),
        )
    for volume in drive_volumes(aws, machine):
        if volume.delete_on_termination:
            progress.warn(
                f"{volume.id} was to be deleted with {machine.id}: somebody had switched that on, now it is off"
            )
            compute.keep_volume(aws, machine.id, volume.device or "")
    _take_over(aws, machine)
    _take_back_end(aws, machine)
    return machine


def _take_back_end(aws: Aws, machine: Instance) -> None:
    """A `down`, or a watch's, that broke off before it saved has told of an end that does not come."""
    if tags.ENDING in machine.tags:
        delete_tag(aws, machine.id, tags.ENDING)
    for volume in drive_volumes(aws, machine):
        if tags.ENDED in volume.tags:
            delete_tag(aws, volume.id, tags.ENDED)


def _take_over(aws: Aws, machine: Instance) -> None:
    """An `up` that was cut off right after its launch, or sleeps there, has not told the machine's disks apart. Raises
    MachineGone if it ends the machine.
    """
    generations: dict[str, int] = {}
    followed: list[tuple[Drive, Volume]] = []
    for name in tags.drive_names(machine.tags):
        drive = observe(aws, name)
        volume = next((v for v in drive.volumes if v.instance_id == machine.id), None)
        if volume and tags.GENERATION not in volume.tags:
            generations[name] = drive.generation_of(volume)
        followed += [(drive, volume)] if volume else []
    if generations:
        confirm(aws, machine, generations)
    for drive, volume in followed:
        follow(aws, drive, drive.generation_of(volume), volume.id)


def _note_filesystems(aws: Aws, machine: Instance) -> None:
    """A machine is ready: from now on no launch says of its drives that they may have no filesystem (I4)."""
    for volume in drive_volumes(aws, machine):
        if tags.BLANK in volume.tags:
            delete_tag(aws, volume.id, tags.BLANK)


def awake_drives(aws: Aws, machine: Instance) -> tuple[AwakeDriveReport, ...]:
    """The drives that a machine has."""
    names = {machine.disks.get(device_of(machine, name) or ""): name for name in tags.drive_names(machine.tags)}
    return tuple(AwakeDriveReport(names[v.id], v.id, v.size_gib) for v in drive_volumes(aws, machine))


def _misfits(aws: Aws, spec: PortalSpec, machine: Instance) -> list[str]:
    """How a running machine differs from what is asked for."""
    wanted = (spec.asked or spec).machine
    known = catalogue.list_instance_types(aws, [machine.type])[0]
    memory = known.gpu_memory_mib / 1024
    price = price_of(machine)
    sizes = {drive.name: drive.size_gib for drive in awake_drives(aws, machine)}
    asked = {drive.name: drive.size_gib for drive in spec.drives} or {spec.name: spec.size_gib}
    checks = {
        "it has no GPU": wanted.wants_gpu() and not known.gpus,
        "it has a GPU": wanted.gpu is False and known.gpus > 0,
        f"it is not {' or '.join(wanted.types)}": wanted.types and machine.type not in wanted.types,
        f"a GPU of it has {memory:g} GiB": wanted.min_gpu_memory_gib and memory < wanted.min_gpu_memory_gib,
        f"it costs ${price}/h": wanted.max_price is not None and price is not None and price > wanted.max_price,
        "it is a spot machine": wanted.on_demand and machine.spot,
        f"it boots {machine.image_id}": wanted.image_id and machine.image_id != wanted.image_id,
        f"it is {machine.architecture}": wanted.architecture and machine.architecture != wanted.architecture,
        **{f"its drive {name} has {size} GiB": asked.get(name) not in (None, size) for name, size in sizes.items()},
    }
    return [text for text, differs in checks.items() if differs]
