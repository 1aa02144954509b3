"""A spec's file under a command line: each option that is given wins. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from xportal.errors import UsageError
from xportal.spec.model import DriveSpec, FileSpec, MachineSpec, PortalSpec, UnattendedSpec

CHOOSING = {"gpu": "machine.gpu", "types": "machine.types", "min_gpu_memory_gib": "machine.min_gpu_memory"}
SINGLE = {"image_id": "machine.image_id", "architecture": "machine.architecture", "ssh_from": "machine.ssh_from"}
ALONE = {
    "on_notice": "on_notice",
    "idle_minutes": "limits.idle_minutes",
    "checkpoint_on_rebalance": "checkpoint_on_rebalance",
    "checkpoint_minutes": "checkpoint_every",
}


def merged(asked: PortalSpec, file: FileSpec) -> tuple[PortalSpec, list[str]]:
    """What a command line asks for together with a file; and the keys of the file over which the command line wins.

    Raises UsageError if a size is not clear whose it is.
    """
    machine, drives, alone = (
        _machine(asked.machine, file.machine),
        _drives(asked, file),
        _alone(asked.alone, file.alone),
    )
    size = None if drives else asked.size_gib
    spec = replace(
        asked, machine=machine, drives=drives, size_gib=size, alone=alone, file=file, follows=file.follows
    )  # fmt: skip
    return spec, list(_beaten(spec, file))


def _machine(asked: MachineSpec, told: MachineSpec) -> MachineSpec:
    """Of the options that choose it, one that is given replaces all; and a market excludes the other one's price."""
    given = {name: getattr(asked, name) for name in SINGLE if getattr(asked, name) is not None}
    if asked.gpu is not None or asked.types or asked.min_gpu_memory_gib is not None:
        given |= {name: getattr(asked, name) for name in CHOOSING}
    if asked.on_demand is not None or asked.max_price is not None:
        kept = told.max_price if asked.on_demand is False else None
        given |= {"on_demand": bool(asked.on_demand), "max_price": asked.max_price or kept}
    return replace(told, **given)


def _drives(asked: PortalSpec, file: FileSpec) -> tuple[DriveSpec, ...]:
    if asked.drives or asked.size_gib is None or not file.drives:
        return asked.drives or file.drives
    if len(file.drives) > 1:
        names = ", ".join(drive.name for drive in file.drives)
        raise UsageError(
            f"--size is of one drive, and {file.follows.file} has {names}", hint="drives[].size in the file"
        )
    return (replace(file.drives[0], size_gib=asked.size_gib),)


def _alone(asked: UnattendedSpec, told: UnattendedSpec) -> UnattendedSpec:
    given = {one.name: value for one in fields(asked) if (value := getattr(asked, one.name)) is not None}
    return replace(told, **given)


def _beaten(spec: PortalSpec, file: FileSpec) -> Iterator[str]:
    """The keys that the file gives, and that are not as it says."""
    for name, key in {**CHOOSING, "max_price": "machine.max_price", **SINGLE}.items():
        told = getattr(file.machine, name)
        if told not in (None, ()) and told != getattr(spec.machine, name):
            yield key
    if bool(spec.machine.on_demand) != bool(file.machine.on_demand):
        yield "machine.market"
    if file.drives and spec.drives != file.drives:
        yield "drives"
    for name, key in ALONE.items():
        if getattr(spec.alone, name) != getattr(file.alone, name):
            yield key
