"""A spec's file, read and checked whole: all that is wrong with it at once. Imports pydantic."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import ValidationError

from xportal import local
from xportal.errors import UsageError
from xportal.spec import leaves, schema, syntax
from xportal.spec.faults import Fault, Path, SpecInvalid
from xportal.spec.model import ContainerSpec, DriveSpec, FileSpec, Followed, MachineSpec, UnattendedSpec, find_faults
from xportal.spec.variables import Expansion, NotExpanded, hide

S = TypeVar("S", bound=schema.Section)

MAX_BYTES = 64 * 1024
NAME_SHOWN = 100
SHOWN = 60  # characters of a value that makes no sense
NOT_EXPANDED: tuple[Path, ...] = (("on_notice",),)  # there, variables are the shell's
FILE_KEYS = {  # by the path of the field in a specification
    "drives": ("drives",),
    "machine.gpu": ("machine", "gpu"),
    "machine.min_gpu_memory_gib": ("machine", "min_gpu_memory"),
    "machine.on_demand": ("machine", "market"),
    "machine.max_price": ("machine", "max_price"),
    "machine.architecture": ("machine", "architecture"),
}
OTHER_NAMES = {  # what others call it, or xportal elsewhere
    "command": "on_notice",
    "cpu": "gpu",
    "env": "environment",
    "gpu": "gpus",
    "instance_type": "types",
    "memory": "mem_limit",
    "mounts": "volumes",
    "network": "network_mode",
    "on_demand": "market",
    "persistent_volumes": "drives",
    "publish": "ports",
    "services": "containers",
    "spot": "market",
    "type": "types",
    "workdir": "working_dir",
}


def read_file(path: FilePath, environ: Mapping[str, str] = os.environ) -> FileSpec:
    """The spec in a file of this computer. Raises SpecInvalid with all that is wrong, UsageError,
    LocalFileError."""
    with local.files("the spec"):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise UsageError(f"there is no file {path}", hint="xportal init writes an example") from error
    return read_spec(path.name, data, environ)


def read_spec(file: str, data: bytes, environ: Mapping[str, str]) -> FileSpec:
    """The spec in a file's bytes: JSON if its name says so, else YAML. Raises SpecInvalid with all that is wrong."""
    try:
        text = _decoded(data)
        root, faults = (syntax.parse_json if file.endswith(".json") else syntax.parse_yaml)(text)
    except syntax.Unreadable as error:
        raise SpecInvalid(file, [error.fault]) from error
    expansion = Expansion(environ)
    plain = _Plain(expansion, file)
    told = plain.of(root, ())
    faults += plain.faults
    try:
        portal = schema.Portal.model_validate(told)
    except ValidationError as error:
        told_of = {fault.path for fault in faults}
        faults += [fault for fault in _translated(error, root) if fault.path not in told_of]
        faults += [*_whole_faults(_valid_parts(told), root)]
        raise SpecInvalid(file, _hidden(faults, expansion)) from error
    faults += _whole_faults(portal, root)
    if faults:
        raise SpecInvalid(file, _hidden(faults, expansion))
    environment = _Environment(expansion, plain)
    containers = tuple(_container(name, one, environment) for name, one in portal.containers.items())
    return FileSpec(
        text=text,
        name=portal.name,
        machine=_machine(portal.machine),
        drives=_drives(portal),
        alone=_alone(portal),
        containers=containers,
        follows=_followed(file, text, portal),
        hidden={name: value for name, value in expansion.used.items() if value},
        warnings=tuple(hide(warning, expansion.used) for warning in plain.warnings),
    )


def _hidden(faults: list[Fault], expansion: Expansion) -> list[Fault]:
    """No fault tells a value of the environment."""
    return [replace(fault, message=hide(fault.message, expansion.used)) for fault in faults]


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise syntax.Unreadable(1, f"more than {MAX_BYTES // 1024} KiB are no spec")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise syntax.Unreadable(data.count(b"\n", 0, error.start) + 1, "this is no UTF-8") from error


class _Plain:
    """The tree as dicts and lists, with variables expanded; and what is wrong with these."""

    def __init__(self, expansion: Expansion, file: str) -> None:
        self._expansion = expansion
        self._file = file
        self.faults: list[Fault] = []
        self.warnings: list[str] = []

    def of(self, node: syntax.Node, path: Path) -> Any:
        """A part of it."""
        if isinstance(node, syntax.Mapping):
            return {key: self.of(value, (*path, key)) for key, value in node.items.items()}
        if isinstance(node, syntax.Sequence):
            return [self.of(value, (*path, number)) for number, value in enumerate(node.items)]
        if "$" not in node.text or path in NOT_EXPANDED:
            return node
        try:
            before = len(self._expansion.unset)
            text = self._expansion.expand(node.text)
        except NotExpanded as error:
            self.faults.append(Fault(path, node.line, f"{shown(node)} is not possible: {error}"))
            return leaves.Expanded("", node.line)
        for name in self._expansion.unset[before:]:
            where = Fault(path, node.line, f"{name} is not set here: nothing takes its place").text(self._file)
            self.warnings += [] if where in self.warnings else [where]
        return leaves.Expanded(text, node.line)


def shown(node: syntax.Node | None) -> str:
    """A value as it is written: what came from the environment is not told."""
    if isinstance(node, syntax.Mapping):
        return "a mapping"
    if isinstance(node, syntax.Sequence):
        return "a list"
    if node is None or node.typed is None:
        return "nothing"
    text = node.text if len(node.text) <= SHOWN else f"{node.text[: SHOWN - 3]}..."
    return f'"{text}"' if isinstance(node.typed, str) else text


def find_node(root: syntax.Node, path: Path) -> tuple[syntax.Node | None, int]:
    """What is at a path, and the line of its key; None, and the line of what should have it, if nothing is there."""
    node: syntax.Node = root
    line = root.line
    for one in path:
        if isinstance(node, syntax.Mapping) and one in node.items:
            line, node = node.lines[str(one)], node.items[str(one)]
        elif isinstance(node, syntax.Sequence) and isinstance(one, int) and one < len(node.items):
            node = node.items[one]
            line = node.line
        else:
            return None, line
    return node, line


def _translated(error: ValidationError, root: syntax.Node) -> Iterator[Fault]:
    """pydantic's errors, in our words."""
    for one in error.errors(include_url=False):
        path = tuple(part for part in one["loc"] if part != "[key]")
        node, line = find_node(root, path)
        match one["type"]:
            case leaves.WRONG:
                what = str(path[-1]) if "[key]" in one["loc"] else shown(node)
                told = f"{what} is not possible: expected {one['ctx']['expected']}"
            case "extra_forbidden":
                told = f"this key is not known{_suggestion(path, node)}"
            case "missing":
                told = f"it is missing, and there is nothing without it: {_meaning(path)}"
            case "tuple_type":
                told = f"{shown(node)} is not possible: expected a list"
            case "model_type" | "dict_type":
                told = f"{shown(node)} is not possible: expected {_keys_of(path)}"
            case other:
                told = f"{shown(node)} is not possible: {other}"
        yield Fault(path, line, told)


def _section(path: Path) -> type[schema.Section]:
    """The class of the mapping at a path."""
    match path:
        case ("machine", *_):
            return schema.Machine
        case ("limits", *_):
            return schema.Limits
        case ("drives", int(), *_):
            return schema.Drive
        case ("containers", str(), *_):
            return schema.Container
    return schema.Portal


def _meaning(path: Path) -> str:
    return str(_section(path[:-1]).model_fields[str(path[-1])].description).rstrip(".").lower()


def _keys_of(path: Path) -> str:
    if path == ("containers",):
        return "the containers, each after its name"
    return f"keys with values ({', '.join(_section(path).model_fields)})"


def _suggestion(path: Path, node: syntax.Node | None) -> str:
    """What was meant, if that can be told; else what is known there."""
    name, section = str(path[-1]), _section(path[:-1])
    known: Mapping[str, Any] = section.model_fields
    near = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.7)
    meant = near[0] if near else OTHER_NAMES.get(name)
    if meant in known:
        return f"; did you mean {meant}?"
    at = [place for place, other in schema.SECTIONS.items() if other is not section and name in other.model_fields]
    if at:
        return f" here; it is known {' and '.join(f'in {place}' if place else 'at the top' for place in at)}"
    return f"; known here: {', '.join(known)}"


def _valid_parts(told: Any) -> schema.Portal:
    """The sections that are right, of a file in which others are wrong."""
    parts = told if isinstance(told, dict) else {}
    containers = parts.get("containers")
    named = containers if isinstance(containers, dict) else {}
    drives = parts.get("drives")
    listed = [_valid(schema.Drive, one) for one in (drives if isinstance(drives, list) else [])]
    return schema.Portal.model_construct(
        machine=_valid(schema.Machine, parts.get("machine")) or schema.Machine(),
        limits=_valid(schema.Limits, parts.get("limits")) or schema.Limits(),
        drives=tuple(drive for drive in listed if drive) if all(listed) else (),
        containers={name: right for name, one in named.items() if (right := _valid(schema.Container, one))},
    )


def _valid(section: type[S], told: Any) -> S | None:
    try:
        return section.model_validate(told)
    except ValidationError:
        return None


def _whole_faults(portal: schema.Portal, root: syntax.Node) -> Iterator[Fault]:
    """What only several keys together make wrong."""
    machine = _machine(portal.machine)
    for error in find_faults(machine, _drives(portal)):
        paths = [FILE_KEYS[path] for path in error.paths]
        named = error.named({path: ".".join(FILE_KEYS[path]) for path in error.paths})
        yield Fault(paths[0], find_node(root, paths[0])[1], f"{named.message}: {named.hint}")
    if machine.on_demand and portal.limits.budget is not None:
        path: Path = ("limits", "budget")
        told = "machine.market on-demand and limits.budget exclude each other: AWS does not tell those prices"
        yield Fault(path, find_node(root, path)[1], told)
    yield from _container_faults(portal, root)


def _container_faults(portal: schema.Portal, root: syntax.Node) -> Iterator[Fault]:
    """A port that two containers take; a drive that the portal does not have."""
    taken: dict[int, str] = {}
    for name, container in portal.containers.items():
        for number, port in enumerate(container.ports):
            path: Path = ("containers", name, "ports", number)
            for outer in leaves.outer_ports(port):
                other = taken.setdefault(outer, name)
                if other != name:
                    told = f"port {outer} of the machine is that of containers.{other} already"
                    yield Fault(path, find_node(root, path)[1], told)
                    break
        for number, volume in enumerate(container.volumes):
            path = ("containers", name, "volumes", number)
            drive = leaves.drive_number(volume)
            if portal.drives and drive and drive > len(portal.drives):
                told = f"/v{drive} is not possible: the portal has {len(portal.drives)} drives, the first at /v1"
                yield Fault(path, find_node(root, path)[1], told)


def _machine(told: schema.Machine) -> MachineSpec:
    return MachineSpec(
        gpu=told.gpu,
        types=told.types,
        min_gpu_memory_gib=told.min_gpu_memory,
        max_price=told.max_price,
        on_demand=told.market == "on-demand",
        image_id=told.image_id,
        architecture=told.architecture,
        ssh_from=told.ssh_from,
    )


def _drives(told: schema.Portal) -> tuple[DriveSpec, ...]:
    return tuple(DriveSpec(drive.name, drive.size) for drive in told.drives)


def _alone(told: schema.Portal) -> UnattendedSpec:
    """All of it: what the file does not say is switched off."""
    return UnattendedSpec(
        on_notice=told.on_notice,
        idle_minutes=told.limits.idle_minutes,
        checkpoint_on_rebalance=told.checkpoint_on_rebalance,
        checkpoint_minutes=told.checkpoint_every,
    )


def _followed(file: str, text: str, told: schema.Portal) -> Followed:
    return Followed(
        file=_named(file),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
        on_demand=told.machine.market == "on-demand",
        max_price=told.machine.max_price,
        image_id=told.machine.image_id,
        wait_capacity=told.machine.wait_capacity,
        budget=told.limits.budget,
        max_hours=told.limits.max_hours,
        end_price=told.limits.max_price,
    )


def _named(file: str) -> str:
    """A file's name as tags and machines are told it."""
    return "".join(c if c.isprintable() else "?" for c in file)[:NAME_SHOWN]


class _Environment:
    """The variables of a container, those that this computer gives among them."""

    def __init__(self, expansion: Expansion, plain: _Plain) -> None:
        self._expansion = expansion
        self._plain = plain

    def filled(self, pairs: tuple[str, ...]) -> Iterator[str]:
        """Each with its value; as with `docker run -e NAME`, one that is not set here is left out."""
        for pair in pairs:
            if "=" in pair:
                yield pair
            elif pair in self._expansion.environ:
                value = self._expansion.used[pair] = self._expansion.environ[pair]
                yield f"{pair}={value}"
            else:
                self._plain.warnings.append(f"{pair} is not set here: the container does not get it")


def _container(name: str, told: schema.Container, environment: _Environment) -> ContainerSpec:
    same = told.model_dump(exclude={"environment", "gpus"})
    return ContainerSpec(
        name=name, environment=tuple(environment.filled(told.environment)), gpus=told.gpus == "all", **same
    )
