"""Docker on a portal's machine, and Docker on this computer; what goes wrong with either, in our words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xportal.errors import ContainerConflict, DockerFailed, NoSuchContainer, NotInstalled, Refused, XportalError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container as DockerContainer
    from requests import Response

LOCAL_TIMEOUT_S = 900


@dataclass(frozen=True)
class Engine:
    """The Docker of a portal's machine, and what running containers there has to know.

    `durable`: the directories whose content outlives the machine.
    """

    client: DockerClient
    portal: str
    gpu: bool = False
    durable: tuple[str, ...] = ("/v1", "/home/ec2-user")

    @property
    def socket(self) -> str | None:
        """The unix socket of this computer behind which it is; None if it is behind none."""
        found = getattr(self.client.api.get_adapter(self.client.api.base_url), "socket_path", None)
        return None if found is None else str(found)

    def request(self, method: str, path: str, **arguments: Any) -> Response:
        """One call of the Engine API, answered as a stream that the caller closes. Raises DockerException.

        For the answers that the docker package would read to their end, or mix.
        """
        from docker.errors import create_api_error_from_http_exception
        from requests.exceptions import HTTPError

        api = self.client.api
        url = f"{api.base_url}/v{api.api_version}/{quote(path)}"
        response: Response = api.request(method, url, stream=True, **{"timeout": None, **arguments})
        try:
            response.raise_for_status()
        except HTTPError as error:
            with response:
                create_api_error_from_http_exception(error)
        return response


@contextmanager
def local_docker(environ: Mapping[str, str] = os.environ) -> Iterator[DockerClient]:
    """The Docker of this computer, as DOCKER_HOST or the docker command's context has it. Raises NotInstalled."""
    import docker
    from docker.errors import DockerException
    from paramiko import SSHException
    from requests.exceptions import RequestException

    try:
        client = docker.from_env(timeout=LOCAL_TIMEOUT_S, environment=environ)
    except (
        DockerException,
        RequestException,
        SSHException,
        OSError,
        ValueError,
    ) as error:  # DOCKER_HOST may be anything
        raise NotInstalled(
            f"Docker does not answer on this computer: {one_line(error)}",
            hint="start it, or build on the machine instead: xportal build PORTAL DIR",
        ) from error
    try:
        yield client
    finally:
        client.close()


def get_container(engine: Engine, name: str) -> DockerContainer:
    """A container by its name or id. Raises NoSuchContainer."""
    from docker.errors import NotFound

    try:
        return engine.client.containers.get(name)
    except NotFound as error:
        raise NoSuchContainer(
            f'portal "{engine.portal}" has no container "{name}"', hint=f"xportal ps {engine.portal} -a"
        ) from error


@contextmanager
def docker_errors(what: str, *, conflict_hint: str = "") -> Iterator[None]:
    """Docker's answers to `what`, a sentence's subject, as errors of ours; 409 becomes ContainerConflict."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise _from_api(what, error, conflict_hint) from error
    except DockerException as error:
        raise DockerFailed(f"{what}: {one_line(error)}") from error


@contextmanager
def understood(what: str) -> Iterator[None]:
    """A block that reads Docker's answer about `what`. Raises DockerFailed where it lacks what is read."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise DockerFailed(f"{what}: Docker's answer makes no sense ({type(error).__name__}: {error})") from error


def events(stream: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What Docker tells of a long operation, to its end; raises DockerException then, if it was told of an error.

    To the end, because a stream that is left early is a connection that is never closed.
    """
    from docker.errors import DockerException

    error = ""
    for event in stream:
        if not isinstance(event, dict):
            error = "the answer makes no sense"
        elif "error" in event:
            error = str(event["error"])
        else:
            yield event
    if error:
        raise DockerException(error)


def _from_api(what: str, error: APIError, conflict_hint: str) -> XportalError:
    if error.response is not None:
        error.response.close()  # the docker package leaves that of a stream open
    text = f"{what}: {one_line(error)}"
    if error.status_code == 409:
        return ContainerConflict(text, hint=conflict_hint)
    if "no space left on device" in text:
        return DockerFailed(text, hint="the drive is full: remove images or containers, or up with a larger --size")
    if "port is already allocated" in text or "address already in use" in text:
        return Refused(text, hint="another container has that port: choose another with -p OTHER:PORT, or stop it")
    return DockerFailed(text)


def one_line(error: Exception) -> str:
    """What an exception of the docker package says, in one line."""
    explanation = getattr(error, "explanation", None) or error
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return " ".join(str(explanation).split())
