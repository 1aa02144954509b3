"""The options that say which machine a portal is to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from xportal.errors import UsageError
from xportal.spec import MachineSpec

SPEC_OPTIONS = {  # by the path of the field in a specification that they give
    "size_gib": "--size",
    "drives": "--drive",
    "machine.gpu": "--cpu",  # of which alone an error tells
    "machine.min_gpu_memory_gib": "--min-gpu-memory",
    "machine.max_price": "--max-price",
    "machine.on_demand": "--on-demand",
    "machine.architecture": "--architecture",
    "machine.ssh_from": "--ssh-from",
    "alone.idle_minutes": "--idle-minutes",
    "alone.checkpoint_minutes": "--checkpoint-every",
    "limits.dollars": "--budget",
    "limits.hours": "--max-hours",
    "limits.price": "--max-price",
}


@dataclass(frozen=True)
class MachineOptions:
    """Their values."""

    gpu: Annotated[bool, typer.Option("--gpu", help="A machine with a GPU.")] = False
    cpu: Annotated[bool, typer.Option("--cpu", help="A machine without one (at first the default).")] = False
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="An instance type; may be repeated.")
    ] = None
    min_gpu_memory: Annotated[
        float | None, typer.Option("--min-gpu-memory", metavar="GIB", help="Memory of one GPU, at least.")
    ] = None
    max_price: Annotated[
        float | None,
        typer.Option("--max-price", metavar="USD", help="Take no spot offer above this price an hour at launch."),
    ] = None
    on_demand: Annotated[
        bool | None, typer.Option("--on-demand/--spot", help="Pay the full price, and never be interrupted; or not.")
    ] = None
    image_id: Annotated[
        str | None, typer.Option("--image-id", metavar="AMI", help="Boot this instead of Amazon Linux 2023.")
    ] = None
    architecture: Annotated[
        str | None, typer.Option("--architecture", metavar="ARCH", help="x86_64 (default) or arm64.")
    ] = None
    ssh_from: Annotated[
        str | None,
        typer.Option(
            "--ssh-from",
            metavar="CIDR",
            help="Let ssh in from there (a VPN, a pool of addresses), not from this computer's address alone; it stays "
            "so until --ssh-from here.",
        ),
    ] = None

    def spec(self) -> MachineSpec:
        """The machine that they ask for. Raises UsageError."""
        if self.gpu and self.cpu:
            raise UsageError("--gpu and --cpu exclude each other", hint="give one of them")
        return MachineSpec(
            gpu=True if self.gpu else False if self.cpu else None,
            types=tuple(self.types or ()),
            min_gpu_memory_gib=self.min_gpu_memory,
            max_price=self.max_price,
            on_demand=self.on_demand,
            image_id=self.image_id,
            architecture=self.architecture,
            ssh_from=self.ssh_from,
        )
