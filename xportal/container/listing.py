"""The containers of a portal's machine: what they are, what they wrote, an end to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from xportal.agent.full.gpu import has_gpu
from xportal.container.engine import Engine, docker_errors, get_container, understood
from xportal.container.streams import Output, outputs

_FRACTION = re.compile(r"\.[0-9]+")  # nanoseconds, which Python does not read


@dataclass(frozen=True)
class Container:
    """A container as `ps` lists it. `ports` as Docker writes them; `gpu`: it has the machine's GPUs now."""

    name: str
    id: str
    image: str
    status: str  # Docker's words: "Up 3 minutes", "Exited (0) 2 hours ago"
    running: bool
    ports: tuple[str, ...]
    gpu: bool


def list_containers(engine: Engine, *, stopped: bool) -> list[Container]:
    """Running containers, and stopped ones too if asked for, newest first."""
    from docker.errors import NotFound

    found = []
    with docker_errors("the list of containers"):
        for listed in engine.client.api.containers(all=stopped):
            try:
                inspected = engine.client.api.inspect_container(listed["Id"])
            except NotFound:
                continue  # removed in between
            with understood("the list of containers"):
                found.append(_container(listed, inspected))
    return found


def read_logs(
    engine: Engine,
    name: str,
    *,
    follow: bool,
    tail: int | None = None,
    since: datetime | timedelta | None = None,
    timestamps: bool = False,
) -> Iterator[Output]:
    """What a container wrote, the last `tail` lines or all, and with `follow` what it goes on to write.

    `since` leaves out what is older: than a time, or for so long. `timestamps`: each line begins with its time.
    Raises NoSuchContainer before the first output.
    """
    container = get_container(engine, name)
    params = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": "all" if tail is None else str(tail)}
    if isinstance(since, timedelta):  # the machine's clock wrote the times: this computer's may be another
        since = machine_now(engine) - since
    if since is not None:
        params["since"] = f"{since.timestamp():.6f}"
    params["timestamps"] = int(timestamps)
    with docker_errors(f'the logs of "{name}"'):
        response = engine.request("GET", f"containers/{container.id}/logs", params=params)
    return outputs(response, tty=container.attrs["Config"]["Tty"])


def machine_now(engine: Engine) -> datetime:
    """The time by the machine's clock. Raises DockerFailed."""
    with docker_errors("the machine's clock"):
        told = engine.client.info()
    with understood("the machine's clock"):
        seconds = _FRACTION.sub("", str(told["SystemTime"])).replace("Z", "+00:00")
        return datetime.fromisoformat(seconds).astimezone(timezone.utc)


def start_again(engine: Engine, name: str) -> None:
    """Start a container that has ended. Idempotent. Raises NoSuchContainer, Refused, DockerFailed."""
    container = get_container(engine, name)
    with docker_errors(f'container "{name}" did not start'):
        container.start()


def restart(engine: Engine, name: str, *, grace: int | None = None) -> None:
    """Stop a container as `stop` does, and start it; one that has ended is started."""
    container = get_container(engine, name)
    with docker_errors(f'container "{name}" did not restart'):
        if grace is None:
            container.restart()
        else:
            container.restart(timeout=grace)


def stop(engine: Engine, name: str, *, grace: int | None = None) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds (None: the container's own, 10 by default). Idempotent."""
    container = get_container(engine, name)
    with docker_errors(f'container "{name}" did not stop'):
        if grace is None:
            container.stop()
        else:
            container.stop(timeout=grace)


def remove(engine: Engine, name: str, *, force: bool = False, volumes: bool = False) -> None:
    """Delete a stopped container, a running one with `force`; its anonymous volumes too with `volumes`.

    Raises NoSuchContainer, ContainerConflict if it runs.
    """
    container = get_container(engine, name)
    hint = f"xportal stop {engine.portal} {name} first, or rm -f"
    with docker_errors(f'container "{name}" was not removed', conflict_hint=hint):
        container.remove(force=force, v=volumes)


def _container(listed: dict[str, Any], inspected: dict[str, Any]) -> Container:
    host_config = inspected["HostConfig"]
    return Container(
        name=inspected["Name"].lstrip("/"),
        id=inspected["Id"][:12],
        image=inspected["Config"]["Image"],
        status=listed["Status"] or listed["State"],
        running=inspected["State"]["Running"],
        ports=published_ports(host_config.get("PortBindings"), inspected["NetworkSettings"].get("Ports")),
        gpu=has_gpu(host_config),
    )


def published_ports(asked: dict[str, Any] | None, bound: dict[str, Any] | None) -> tuple[str, ...]:
    """Ports as `docker ps` writes them; of a stopped container those it will have."""
    pairs = {**(asked or {}), **{port: at for port, at in (bound or {}).items() if at}}
    return tuple(
        f"{at['HostIp'] or '0.0.0.0'}:{at['HostPort'] or '?'}->{port}"
        for port, bindings in sorted(pairs.items())
        for at in bindings or ()
    )
