"""A portal, its machine, drives and containers, as frozen classes that raise SpecError when they make no sense."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network

from xportal import foreign
from xportal.errors import SpecError, UsageError
from xportal.spec.variables import hide

DEFAULT_PORTAL = "xdrive"
DEFAULT_SIZE_GIB = 50
MIN_SIZE_GIB = 1
MAX_SIZE_GIB = 65536  # gp3
MAX_NAMES_LENGTH = 140  # of all drives of a machine, with commas: AWS's tags have 256 characters, descriptions 255
MAX_DRIVES = 11  # as many device names as the EC2 User Guide recommends for data volumes
ARCHITECTURES = ("x86_64", "arm64")
DEFAULT_ARCHITECTURE = ARCHITECTURES[0]
MIN_MEMORY_MIB = 4 * 1024  # of types that nobody named
SSH_FROM_HERE = "here"
_EXCLUDE = "{0} and {1} exclude each other"

GPU_TYPES = {
    "x86_64": (
        "g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g4dn.2xlarge", "g5.2xlarge", "g6.2xlarge", "g6e.xlarge",
        "g6e.2xlarge", "g4dn.4xlarge", "g5.4xlarge", "g6.4xlarge", "g6e.4xlarge",
    ),
    "arm64": ("g5g.xlarge", "g5g.2xlarge", "g5g.4xlarge"),
}  # fmt: skip
CPU_TYPES = {
    "x86_64": ("t3.medium", "t3a.medium", "t3.large", "t3a.large", "m5.large", "m6i.large", "m7i.large", "c6i.large"),
    "arm64": ("t4g.medium", "t4g.large", "m6g.large", "m7g.large", "c6g.large"),
}


@dataclass(frozen=True)
class MachineSpec:
    """The machine that is wanted. `types` empty: the defaults for GPU or CPU, and `like`, where `min_memory_mib` and
    `min_gpus` hold.
    """

    gpu: bool | None = None  # None: GPU if a type has one, else a CPU machine
    types: tuple[str, ...] = ()
    min_gpu_memory_gib: float | None = None
    max_price: float | None = None  # US dollars an hour
    on_demand: bool | None = None  # None: spot, or as the spec that the portal follows says
    image_id: str | None = None
    architecture: str | None = None  # None: the drive's, else x86_64
    like: str = ""  # the type that it replaces
    min_memory_mib: int = MIN_MEMORY_MIB
    min_gpus: int = 0
    ssh_from: str | None = None  # a CIDR, or SSH_FROM_HERE: this computer's address; None: as before, at first that

    def wants_gpu(self) -> bool:
        """Whether only machines with a GPU will do."""
        return bool(self.gpu) or self.min_gpu_memory_gib is not None

    def candidate_types(self) -> tuple[str, ...]:
        """The types to look for, in order of preference."""
        if self.types:
            return self.types
        defaults = (GPU_TYPES if self.wants_gpu() else CPU_TYPES)[self.architecture or DEFAULT_ARCHITECTURE]
        return tuple(dict.fromkeys([self.like, *defaults])) if self.like else defaults


@dataclass(frozen=True)
class DriveSpec:
    """A drive that a portal wants. Raises SpecError when it makes no sense."""

    name: str
    size_gib: int | None = None  # of a new drive, or to grow to

    def __post_init__(self) -> None:
        check_name("drive", self.name)
        if self.size_gib is not None and not MIN_SIZE_GIB <= self.size_gib <= MAX_SIZE_GIB:
            raise SpecError(f"a drive of {self.size_gib} GiB is not possible", "size_gib", hint="1 to 65536 (GiB)")


@dataclass(frozen=True)
class UnattendedSpec:
    """What the machine does by itself. None: as it is set already for the drive, at first not at all."""

    on_notice: str | None = None  # a command for its shell when AWS takes it back
    idle_minutes: float | None = None  # unused for so long it saves and ends itself; 0: never
    checkpoint_on_rebalance: bool | None = None
    checkpoint_minutes: float | None = None  # between two rolling checkpoints; 0: none

    def __post_init__(self) -> None:
        for field_, value in (("idle_minutes", self.idle_minutes), ("checkpoint_minutes", self.checkpoint_minutes)):
            if value is not None and not 0 <= value < math.inf:
                raise SpecError(f"{{0}} {value:g} is not possible", f"alone.{field_}", hint="0 switches it off")


@dataclass(frozen=True)
class ContainerSpec:
    """A container that a spec defines, in the words of `docker run`. `environment` has a value for each name."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()  # NAME=VALUE
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    shm_size: str | None = None
    mem_limit: str | None = None
    ipc: str | None = None
    ulimits: tuple[str, ...] = ()  # NAME=SOFT:HARD
    restart: str | None = None
    network_mode: str | None = None
    labels: tuple[str, ...] = ()  # NAME=VALUE
    init: bool = True
    gpus: bool = True  # if the machine has some

    def digest(self) -> str:
        """The same for the same definition: a container carries it as a label. A field that a later xportal adds does
        not change it while it has its default.
        """
        told = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Followed:
    """The spec file that a portal follows: its name and the digest of its text, and what of it is for machines to come,
    and for who watches over the portal. Prices in US dollars an hour.
    """

    file: str
    digest: str
    on_demand: bool | None = None
    max_price: float | None = None
    image_id: str | None = None
    wait_capacity: bool = False
    budget: float | None = None
    max_hours: float | None = None
    end_price: float | None = None  # above which the portal is saved and ended

    def __str__(self) -> str:
        return f"{self.file} ({self.digest})"


@dataclass(frozen=True)
class FileSpec:
    """What a spec's file asks for. `hidden` are the values that it took from the environment, by name."""

    text: str
    name: str | None
    machine: MachineSpec
    drives: tuple[DriveSpec, ...]
    alone: UnattendedSpec
    containers: tuple[ContainerSpec, ...]
    follows: Followed
    hidden: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def without_hidden(self, text: str) -> str:
        """Text in which those values are replaced by their names."""
        return hide(text, self.hidden)


@dataclass(frozen=True)
class PortalSpec:
    """A portal: its name, the machine and the drives it wants. Raises SpecError when it makes no sense.

    `drives` empty: those of its machine if it is up, else one of the portal's own name; `size_gib` is that one's.
    `asked` is what the command line and the spec's file said, where the rest is as last time: of a machine that is up
    no more is asked. `remembered` are the tags from which the next `up` knows all this. `file` is the file of this
    command, `follows` that of the last `up` that had one, this one included.
    """

    name: str = DEFAULT_PORTAL
    machine: MachineSpec = MachineSpec()
    size_gib: int | None = None
    drives: tuple[DriveSpec, ...] = ()
    alone: UnattendedSpec = UnattendedSpec()
    asked: PortalSpec | None = None
    remembered: Mapping[str, str] = field(default_factory=dict)
    file: FileSpec | None = None
    follows: Followed | None = None

    def __post_init__(self) -> None:
        check_name("portal", self.name)
        DriveSpec(self.name, self.size_gib)
        check_ssh_from(self.machine.ssh_from)
        for fault in find_faults(self.machine, self.drives, self.size_gib):
            raise fault


def find_faults(
    machine: MachineSpec, drives: tuple[DriveSpec, ...], size_gib: int | None = None
) -> Iterator[SpecError]:
    """All that makes no sense of a machine and its drives together."""
    names = [drive.name for drive in drives]
    if len(set(names)) < len(names):
        yield SpecError(f"a drive is named twice: {', '.join(names)}", "drives", hint="each drive once")
    if len(names) > MAX_DRIVES:
        yield SpecError(f"{len(names)} drives are too many for one machine", "drives", hint=f"{MAX_DRIVES} at most")
    if len(",".join(names)) > MAX_NAMES_LENGTH:
        too_long = "the names of these drives are too long together"
        yield SpecError(too_long, "drives", hint=f"{MAX_NAMES_LENGTH} characters at most")
    if drives and size_gib is not None:
        yield SpecError(_EXCLUDE, "size_gib", "drives", hint="{1} NAME:GIB gives a drive its size")
    if machine.gpu is False and machine.min_gpu_memory_gib is not None:
        yield SpecError(_EXCLUDE, "machine.gpu", "machine.min_gpu_memory_gib", hint="drop one of them")
    if machine.on_demand and machine.max_price is not None:
        yield SpecError(_EXCLUDE, "machine.on_demand", "machine.max_price", hint="drop one of them")
    for path, value in (
        ("machine.max_price", machine.max_price),
        ("machine.min_gpu_memory_gib", machine.min_gpu_memory_gib),
    ):
        if value is not None and not is_positive(value):
            yield _not_positive(path, value)
    if machine.architecture not in (None, *ARCHITECTURES):
        unknown = f"unknown architecture {machine.architecture!r}"
        yield SpecError(unknown, "machine.architecture", hint="x86_64 or arm64")


def check_ssh_from(source: str | None) -> None:
    """Raises SpecError for what is neither an IPv4 network nor SSH_FROM_HERE."""
    if source in (None, SSH_FROM_HERE):
        return
    try:
        IPv4Network(source or "")
    except ValueError as error:
        raise SpecError(
            f"{{0}} {source!r} is no range of addresses: {error}",
            "machine.ssh_from",
            hint=f"for example {{0}} 203.0.113.0/24; {{0}} {SSH_FROM_HERE} is this computer's address again",
        ) from error


def is_positive(value: float) -> bool:
    """Whether it is a number above 0, and no infinity."""
    return 0 < value < math.inf


def _not_positive(path: str, value: float) -> SpecError:
    return SpecError(f"{{0}} {value:g} is not possible", path, hint="{0} takes a number above 0")


def check_positive(path: str, value: float | None) -> None:
    """Raises SpecError for a field's value that is given and is no positive number."""
    if value is not None and not is_positive(value):
        raise _not_positive(path, value)


def check_name(kind: str, name: str) -> str:
    """`name`, or UsageError: letters, digits, `-`, `_` and `.`, at most 60, a letter or digit first."""
    if foreign.name(name) is None:
        raise UsageError(
            f"{name!r} cannot be a {kind}'s name",
            hint="letters, digits, - _ and . (60 at most), a letter or digit first",
        )
    return name
