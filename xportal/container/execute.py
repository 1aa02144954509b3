"""Run a command in a container that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from xportal.container.engine import Engine, docker_errors, get_container
from xportal.container.streams import Output, outputs, stdin_carried
from xportal.errors import NoSuchContainer, Refused


def execute(
    engine: Engine,
    name: str,
    argv: Sequence[str],
    write: Callable[[Output], None],
    *,
    stdin: BinaryIO | None = None,
    env: Sequence[str] = (),
    workdir: str | None = None,
    user: str | None = None,
) -> int:
    """Run `argv` in a container, `write` what it writes as it comes, and return its exit status.

    `stdin`, if given, is a file of this process (with a descriptor) that becomes its stdin.
    Raises NoSuchContainer, Refused if the container does not run, DockerFailed.
    """
    body = {
        "Cmd": list(argv),
        "AttachStdin": stdin is not None,
        "AttachStdout": True,
        "AttachStderr": True,
        "Env": list(env),
        "WorkingDir": workdir or "",
        "User": user or "",
    }
    container = get_running(engine, name)
    with docker_errors(f'exec in "{name}"'):
        with engine.request("POST", f"containers/{container}/exec", json=body) as created:
            exec_id = created.json()["Id"]
        response = engine.request("POST", f"exec/{exec_id}/start", json={"Detach": False, "Tty": False})
        with response, stdin_carried(response, stdin):
            for output in outputs(response, tty=False):
                write(output)
        return int(engine.client.api.exec_inspect(exec_id)["ExitCode"])


def interactive_argv(
    name: str,
    argv: Sequence[str],
    *,
    stdin: bool = True,
    tty: bool = True,
    env: Sequence[str] = (),
    workdir: str | None = None,
    user: str | None = None,
) -> list[str]:
    """The machine's own `docker exec` as a command line, for a terminal that ssh carries."""
    given = [*(["--interactive"] if stdin else []), *(["--tty"] if tty else [])]
    for option, values in (("--env", env), ("--workdir", [workdir]), ("--user", [user])):
        given += [f"{option}={value}" for value in values if value]
    return ["docker", "exec", *given, "--", name, *argv]


def get_running(engine: Engine, name: str) -> str:
    """The id of a container that runs. Raises NoSuchContainer, Refused."""
    container = get_container(engine, name)
    if container.status != "running":
        raise Refused(
            f'container "{name}" of portal "{engine.portal}" is not running ({container.status})',
            hint=f"xportal logs {engine.portal} {name} tells why it ended",
        )
    if container.id is None:
        raise NoSuchContainer(f'container "{name}" has no id')
    return container.id
