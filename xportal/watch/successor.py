"""The machine that comes after one that AWS took."""

from __future__ import annotations

from dataclasses import replace

from xportal.aws import catalogue
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.errors import UsageError
from xportal.machine.images import get_machine_image
from xportal.spec import MachineSpec


def successor(aws: Aws, asked: MachineSpec, last: Instance) -> MachineSpec:
    """What the user asked for. Who did not say which machine it is to be gets one that can do what the last one could:
    its memory and GPUs at least, its architecture, its image if it was no default one, its market if none was asked.
    """
    if asked.gpu is not None or asked.types or asked.min_gpu_memory_gib is not None:
        return asked
    [known] = catalogue.list_instance_types(aws, [last.type])
    architecture = asked.architecture or last.architecture
    return replace(
        asked,
        gpu=known.gpus > 0,
        like=known.name,
        min_gpus=known.gpus,
        min_gpu_memory_gib=known.gpu_memory_mib / 1024 or None,
        min_memory_mib=known.memory_mib,
        architecture=architecture,
        image_id=asked.image_id or _chosen_image(aws, last, architecture, gpu=known.gpus > 0),
        on_demand=not last.spot and asked.max_price is None if asked.on_demand is None else asked.on_demand,
    )


def _chosen_image(aws: Aws, last: Instance, architecture: str, *, gpu: bool) -> str | None:
    """The last machine's image, if it is not the default one, and AWS has it yet: defaults are renewed, and go."""
    if last.image_id == get_machine_image(aws, MachineSpec(architecture=architecture), gpu=gpu).id:
        return None
    try:
        return get_machine_image(aws, MachineSpec(architecture=architecture, image_id=last.image_id), gpu=gpu).id
    except UsageError:
        return None
