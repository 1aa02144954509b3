"""The options that say which machine a portal is to have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from xportal.errors import UsageError
from xportal.spec import MachineSpec

Gpu = Annotated[bool, typer.Option("--gpu", help="A machine with a GPU.")]
Cpu = Annotated[bool, typer.Option("--cpu", help="A machine without one. [default at first]")]
Types = Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="An instance type; may be repeated.")]
MinGpuMemory = Annotated[
    float | None, typer.Option("--min-gpu-memory", metavar="GIB", help="Memory of one GPU, at least.")
]
MaxPrice = Annotated[
    float | None,
    typer.Option("--max-price", metavar="USD", help="Take no spot offer above this price an hour at launch."),
]
OnDemand = Annotated[bool, typer.Option("--on-demand", help="Pay the full price; never interrupted.")]
ImageId = Annotated[
    str | None, typer.Option("--image-id", metavar="AMI", help="Boot this instead of Amazon Linux 2023.")
]
Architecture = Annotated[str | None, typer.Option("--architecture", metavar="ARCH", help="x86_64 (default) or arm64.")]

SPEC_OPTIONS = {  # by the path of the field in a specification that they give
    "size_gib": "--size",
    "drives": "--drive",
    "machine.gpu": "--cpu",  # of which alone an error tells
    "machine.min_gpu_memory_gib": "--min-gpu-memory",
    "machine.max_price": "--max-price",
    "machine.on_demand": "--on-demand",
    "machine.architecture": "--architecture",
    "alone.idle_minutes": "--idle-minutes",
    "alone.checkpoint_minutes": "--checkpoint-every",
    "limits.dollars": "--budget",
    "limits.hours": "--max-hours",
}


def machine_spec(
    gpu: bool,
    cpu: bool,
    types: Sequence[str] | None,
    min_gpu_memory: float | None,
    max_price: float | None,
    on_demand: bool,
    image_id: str | None,
    architecture: str | None,
) -> MachineSpec:
    """The machine that the options ask for. Raises UsageError."""
    if gpu and cpu:
        raise UsageError("--gpu and --cpu exclude each other", hint="give one of them")
    return MachineSpec(
        gpu=True if gpu else False if cpu else None,
        types=tuple(types or ()),
        min_gpu_memory_gib=min_gpu_memory,
        max_price=max_price,
        on_demand=on_demand,
        image_id=image_id,
        architecture=architecture,
    )
