"""What a portal is to be: validated before anything is asked of AWS.

`xportal.spec.model` has the classes, which all commands use. The modules beside it read them from a file: only `up`
with a file, and the commands about files, import `xportal.spec.reading`, and with it pydantic.
"""

from xportal.spec.model import (
    ARCHITECTURES,
    CPU_TYPES,
    DEFAULT_ARCHITECTURE,
    DEFAULT_PORTAL,
    DEFAULT_SIZE_GIB,
    GPU_TYPES,
    MAX_DRIVES,
    MAX_NAMES_LENGTH,
    MAX_SIZE_GIB,
    MIN_MEMORY_MIB,
    MIN_SIZE_GIB,
    SSH_FROM_HERE,
    ContainerSpec,
    DriveSpec,
    FileSpec,
    Followed,
    MachineSpec,
    PortalSpec,
    UnattendedSpec,
    check_name,
    check_positive,
    check_ssh_from,
)

__all__ = [
    "ARCHITECTURES",
    "CPU_TYPES",
    "DEFAULT_ARCHITECTURE",
    "DEFAULT_PORTAL",
    "DEFAULT_SIZE_GIB",
    "GPU_TYPES",
    "MAX_DRIVES",
    "MAX_NAMES_LENGTH",
    "MAX_SIZE_GIB",
    "MIN_MEMORY_MIB",
    "MIN_SIZE_GIB",
    "SSH_FROM_HERE",
    "ContainerSpec",
    "DriveSpec",
    "FileSpec",
    "Followed",
    "MachineSpec",
    "PortalSpec",
    "UnattendedSpec",
    "check_name",
    "check_positive",
    "check_ssh_from",
]
