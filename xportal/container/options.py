"""What `xportal run` was asked for, and the Engine API's payload for it. Pure: no Docker is asked."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from xportal.errors import UsageError

GPU_LABEL = "xportal.gpu"  # auto: the agent adds and drops the GPU as the machine has it; none: never
ALL_GPUS = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
LOOPBACK = "127.0.0.1"
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


@dataclass(frozen=True)
class RunOptions:
    """The options of `docker run` that xportal takes, each as Docker's command line writes it."""

    image: str
    command: tuple[str, ...] = ()
    name: str | None = None
    env: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    shm_size: str | None = None
    ipc: str | None = None
    ulimits: tuple[str, ...] = ()
    memory: str | None = None
    cpus: float | None = None
    entrypoint: str | None = None
    restart: str | None = None
    network: str | None = None
    labels: tuple[str, ...] = ()
    init: bool = True
    gpu: bool = True  # if the machine has one
    remove: bool = False  # when it ends
    interactive: bool = False
    tty: bool = False


def create_payload(
    options: RunOptions, *, gpu: bool, durable: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """The body of POST /containers/create. `gpu`: the machine has one; `durable`: what outlives it, the drive first.

    `environ` gives the values of `-e NAME`. Raises UsageError for every option that makes no sense here.
    """
    if options.remove and options.restart not in (None, "no"):
        raise UsageError("--rm and --restart exclude each other", hint="drop one of them")
    ports = port_bindings(options.ports)
    binds, anonymous = split_mounts(options.mounts, durable)
    binds = _with_drive(binds, anonymous, durable[0])
    payload: dict[str, Any] = {
        "Image": options.image,
        "Cmd": list(options.command) or None,
        "Entrypoint": None if options.entrypoint is None else [options.entrypoint],
        "Env": environment(options.env, environ),
        "WorkingDir": options.workdir,
        "User": options.user,
        "Labels": labels(options),
        "ExposedPorts": {port: {} for port in ports},
        "Volumes": {path: {} for path in anonymous},
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive,
        "AttachStdin": options.interactive,
        "HostConfig": _host_config(options, ports, binds, gpu=gpu),
    }
    return _without_none(payload)


def _with_drive(binds: list[str], anonymous: list[str], drive: str) -> list[str]:
    """The drive is at the same place in every container, unless the user mounts something else there."""
    taken = [bind.split(":")[1] for bind in binds] + anonymous
    return binds if drive in taken else [f"{drive}:{drive}", *binds]


def _host_config(options: RunOptions, ports: dict[str, Any], binds: list[str], *, gpu: bool) -> dict[str, Any]:
    config = {
        "PortBindings": ports,
        "Binds": binds,
        "ShmSize": size_in_bytes("--shm-size", options.shm_size),
        "Memory": size_in_bytes("--memory", options.memory),
        "NanoCpus": nano_cpus(options.cpus),
        "IpcMode": options.ipc,
        "Ulimits": [ulimit(text) for text in options.ulimits],
        "RestartPolicy": restart_policy(options.restart),
        "NetworkMode": options.network,
        "AutoRemove": options.remove,
        "Init": options.init,
        "DeviceRequests": [ALL_GPUS] if gpu and options.gpu else None,
    }
    return _without_none(config)


def port_bindings(ports: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """`-p` as Docker writes it ([127.0.0.1:][PORT:]CONTAINER_PORT[/udp], or ranges), bound to loopback alone."""
    from docker.utils.ports import split_port

    bindings: dict[str, list[dict[str, str]]] = {}
    for text in ports:
        try:
            inner, outer = split_port(text.replace("localhost:", f"{LOOPBACK}:", 1))
        except ValueError as error:
            raise UsageError(f"-p {text} makes no sense", hint="-p PORT:CONTAINER_PORT, as in -p 8888:8888") from error
        for index, port in enumerate(inner):
            address, number = _outer_port(text, outer[index] if outer else None)
            key = port if "/" in port else f"{port}/tcp"
            bindings.setdefault(key, []).append({"HostIp": address, "HostPort": number})
    return bindings


def _outer_port(text: str, outer: Any) -> tuple[str, str]:
    address, number = outer if isinstance(outer, tuple) else (LOOPBACK, outer)
    if not address.startswith("127."):
        raise UsageError(
            f"-p {text} would open the port on {address}: xportal binds ports to the machine's loopback alone",
            hint=f"drop the address; xportal ssh PORTAL or an ssh tunnel reaches {LOOPBACK} on the machine",
        )
    return address, str(number or "")  # "": Docker picks a free one


def split_mounts(mounts: Sequence[str], durable: Sequence[str]) -> tuple[list[str], list[str]]:
    """`-v` as binds (directories of the machine, named volumes) and the paths of anonymous volumes.

    Raises UsageError for a directory of the machine that would not survive it.
    """
    binds, anonymous = [], []
    for text in mounts:
        source, *rest = text.split(":")
        if not rest:
            anonymous.append(_container_path(text, source))
            continue
        _container_path(text, rest[0])
        if len(rest) > 2 or not source:
            raise UsageError(f"-v {text} makes no sense", hint="-v SOURCE:PATH[:ro]")
        if "/" in source or source in (".", "..", "~"):
            source = _durable_path(text, source, durable)
        binds.append(":".join([source, *rest]))
    return binds, anonymous


def _container_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"-v {text}: the path in the container must begin with /", hint="-v SOURCE:/PATH[:ro]")
    return path


def _durable_path(text: str, source: str, durable: Sequence[str]) -> str:
    path = posixpath.normpath(source)
    if not any(path == root or path.startswith(f"{root}/") for root in durable):
        raise UsageError(
            f"-v {text}: {source} is not on the drive and would not outlive the machine",
            hint=f"use a directory of the machine under {' or '.join(durable)}, or a named volume",
        )
    return path


def environment(items: Sequence[str], environ: Mapping[str, str], *, option: str = "-e") -> list[str]:
    """NAME=VALUE, or NAME for this computer's value; a name that is not set here is left out. Raises UsageError."""
    for item in items:
        if not item or item.startswith("="):
            raise UsageError(f"{option} {item} has no name", hint=f"{option} NAME=VALUE, or {option} NAME")
    values = (item if "=" in item else f"{item}={environ[item]}" for item in items if "=" in item or item in environ)
    return list(values)


def env_file(text: str, name: str) -> list[str]:
    """The lines of an `--env-file`, as items of `-e`; comments and empty lines are left out. Raises UsageError."""
    lines = (line.lstrip() for line in text.removeprefix("\ufeff").splitlines())
    items = [line for line in lines if line and not line.startswith("#")]
    for item in items:
        variable = item.partition("=")[0]
        if not variable or any(character.isspace() for character in variable):
            raise UsageError(f"--env-file {name}: {variable!r} is no variable's name", hint="NAME=VALUE, or NAME")
    return items


def since_when(text: str) -> datetime | timedelta:
    """`logs --since`: a time as ISO 8601 or in seconds since 1970, or for how long, as 10m or 1h30m. Raises UsageError.

    A time without a zone is in this computer's.
    """
    if text and (found := _DURATION.fullmatch(text)):
        hours, minutes, seconds = (float(number or 0) for number in found.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    try:
        if text.replace(".", "", 1).isdecimal():
            return datetime.fromtimestamp(float(text), timezone.utc)
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"--since {text} makes no sense", hint="--since 10m, or 2026-01-02T03:04:05Z") from error


def nano_cpus(cpus: float | None) -> int | None:
    """`--cpus 1.5`, as Docker counts them. Raises UsageError."""
    if cpus is None:
        return None
    if not 0.01 <= cpus < 10_000:  # Docker refuses less; "not": nan is none of both
        raise UsageError(f"--cpus {cpus:g} makes no sense", hint="how many processors' time, as in --cpus 1.5")
    return round(cpus * 1e9)


def labels(options: RunOptions) -> dict[str, str]:
    """The user's labels, and ours."""
    pairs = dict(item.partition("=")[::2] for item in options.labels)
    if GPU_LABEL in pairs:
        raise UsageError(f"the label {GPU_LABEL} is xportal's own", hint="--no-gpu keeps the GPU away from a container")
    return {**pairs, GPU_LABEL: "auto" if options.gpu else "none"}


def ulimit(text: str) -> dict[str, Any]:
    """`--ulimit NAME=SOFT[:HARD]`."""
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError as error:
        raise UsageError(f"--ulimit {text} makes no sense", hint="--ulimit memlock=-1, or nofile=1024:4096") from error


def restart_policy(text: str | None) -> dict[str, Any] | None:
    """`--restart no|always|unless-stopped|on-failure[:TIMES]`."""
    if text is None:
        return None
    name, _, times = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure") or (times and not times.isdigit()):
        raise UsageError(
            f"--restart {text} makes no sense", hint="--restart no, always, unless-stopped or on-failure[:TIMES]"
        )
    return {"Name": name, "MaximumRetryCount": int(times or 0)}


def size_in_bytes(option: str, text: str | None) -> int | None:
    """`8g` and the like."""
    from docker.errors import DockerException
    from docker.utils import parse_bytes

    if text is None:
        return None
    try:
        size = int(parse_bytes(text))
    except (DockerException, ValueError):
        size = 0
    if size <= 0:
        raise UsageError(f"{option} {text} makes no sense", hint=f"a size: {option} 8g, or 512m")
    return size


def _without_none(payload: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if value is not None}
