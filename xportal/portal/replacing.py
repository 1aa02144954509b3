"""The machine that comes after one that AWS took."""

from __future__ import annotations

from dataclasses import replace

from xportal.aws import catalogue
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.machine.images import get_machine_image
from xportal.spec import MachineSpec


def successor(aws: Aws, asked: MachineSpec, last: Instance) -> MachineSpec:
    """What the user asked for. Who did not say which machine it is to be gets one that can do what the last one could:
    its memory and GPUs at least, its architecture, its image if it was no default one, its market if none was asked.
    """
    if asked.gpu is not None or asked.types or asked.min_gpu_memory_gib is not None:
        return asked
    [known] = catalogue.list_instance_types(aws, [last.type])
    default = get_machine_image(aws, MachineSpec(architecture=last.architecture), gpu=known.gpus > 0)
    return replace(
        asked,
        gpu=known.gpus > 0,
        like=known.name,
        min_gpus=known.gpus,
        min_gpu_memory_gib=known.gpu_memory_mib / 1024 or None,
        min_memory_mib=known.memory_mib,
        architecture=asked.architecture or last.architecture,
        image_id=asked.image_id or (last.image_id if last.image_id != default.id else None),
        on_demand=asked.on_demand or (not last.spot and asked.max_price is None),
    )
