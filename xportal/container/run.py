"""Start a container: created from the image the machine has, or can pull; undone if it does not start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from xportal.container.engine import Engine, docker_errors
from xportal.container.images import pulled
from xportal.container.jupyter import TOKEN, is_jupyter
from xportal.container.options import RunOptions, create_payload
from xportal.container.streams import Output, outputs, stdin_carried
from xportal.errors import DockerFailed, Refused, UsageError

if TYPE_CHECKING:
    from requests import Response


@dataclass(frozen=True)
class Started:
    """A container that was created, and started unless `create` made it."""

    id: str
    name: str
    image: str


class Following:
    """A container that was started with its output attached: iterate the outputs, then ask for `status`."""

    def __init__(self, started: Started, attached: Response, waited: Response, *, tty: bool) -> None:
        self.started = started
        self._attached = attached
        self._waited = waited
        self._tty = tty

    def outputs(self, stdin: BinaryIO | None = None) -> Iterator[Output]:
        """What it writes, from its first byte to its end; `stdin` as in `execute`, if it was created interactive."""
        with stdin_carried(self._attached, stdin):
            yield from outputs(self._attached, tty=self._tty)

    def status(self) -> int:
        """Wait for its end: its exit status."""
        with self._waited:
            return int(self._waited.json()["StatusCode"])

    def close(self) -> None:
        """Let go of it; it runs on. Idempotent."""
        self._attached.close()
        self._waited.close()


def create(
    engine: Engine,
    options: RunOptions,
    say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> Started:
    """Create a container, pulling its image if the machine does not have it; `say` tells of the pull.

    Raises UsageError, ContainerConflict if the name is taken, Refused if there is no such image, DockerFailed.
    """
    payload = create_payload(options, gpu=engine.gpu, durable=engine.durable, environ=environ)
    container = _create(engine, options, payload)
    if container is None:
        _pull(engine, options.image, say)
        container = _create(engine, options, payload)
    if container is None:
        raise _no_image(engine, options.image, "it is gone again")
    return container


def ensure_image(engine: Engine, image: str, say: Callable[[str], None]) -> None:
    """Have the machine pull an image unless it has it. Raises Refused if it cannot be had, DockerFailed."""
    from docker.errors import ImageNotFound

    with docker_errors(f"image {image}"):
        try:
            engine.client.images.get(image)
        except ImageNotFound:
            _pull(engine, image, say)


def start(engine: Engine, container: Started) -> None:
    """Start what `create` made; if it does not start, it is removed again: the next try needs its name."""
    from docker.errors import DockerException

    with docker_errors(f'container "{container.name}" did not start'):
        try:
            engine.client.api.start(container.id)
        except DockerException:
            with suppress(DockerException):  # what made it fail to start is the error to tell
                engine.client.api.remove_container(container.id, v=True, force=True)
            raise


def run(engine: Engine, options: RunOptions, say: Callable[[str], None]) -> Started:
    """Create and start a container in the background. Raises as `create` and `start` do."""
    container = create(engine, options, say)
    start(engine, container)
    return container


def find_early_end(engine: Engine, container: Started, *, seconds: int) -> int | None:
    """The exit status of a container that ends within so many seconds; None if it runs on.

    With an init process, Docker does not notice that the program in a container is missing: it ends at once.
    """
    from requests import ReadTimeout
    from requests.exceptions import ConnectionError as Unanswered

    with docker_errors(f'container "{container.name}"'):
        try:
            status: int = engine.client.api.wait(container.id, timeout=seconds)["StatusCode"]
        except (ReadTimeout, Unanswered):  # requests tells a time-out while it waits in either way
            return None
    return status


def run_attached(engine: Engine, options: RunOptions, say: Callable[[str], None]) -> Following:
    """Create and start a container whose output is read from its first byte, even if it is gone the next moment."""
    container = create(engine, options, say)
    with docker_errors(f'container "{container.name}"'):
        attached = engine.request(
            "POST",
            f"containers/{container.id}/attach",
            params={"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(options.interactive)},
        )
        # answered before the container starts, so that its status cannot be missed
        condition = "removed" if options.remove else "next-exit"
        waited = engine.request("POST", f"containers/{container.id}/wait", params={"condition": condition})
    following = Following(container, attached, waited, tty=options.tty)
    try:
        start(engine, container)
    except BaseException:
        following.close()
        raise
    return following


def _create(engine: Engine, options: RunOptions, payload: dict[str, Any]) -> Started | None:
    """None if the machine does not have the image."""
    from docker.errors import APIError, ImageNotFound

    hint = f"xportal rm {engine.portal} {options.name} removes it; or give another --name"
    with docker_errors(f'container "{options.name}"' if options.name else "the container", conflict_hint=hint):
        payload = with_token(payload, _image_config(engine, options.image), secrets.token_hex(24))
        try:
            created = engine.client.api.create_container_from_config(  # type: ignore[no-untyped-call]
                payload, name=options.name
            )
        except ImageNotFound:
            return None
        except APIError as error:
            if error.status_code == 400:
                raise UsageError(
                    f"Docker refuses these options: {error.explanation}", hint="xportal run --help"
                ) from error
            raise
        name = engine.client.api.inspect_container(created["Id"])["Name"].lstrip("/")
    return Started(created["Id"], name, options.image)


def with_token(payload: dict[str, Any], image: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The payload with a token for a Jupyter server, if the container's command is one and nobody has set a token.

    The server would make another one at each start. This one is a setting of the container, so it stays the same on
    each machine, and a page in a browser finds its server again.
    """
    own = [payload.get("Entrypoint") or image.get("Entrypoint"), payload.get("Cmd") or image.get("Cmd")]
    set_already = [*payload.get("Env", ()), *(image.get("Env") or ())]
    if not is_jupyter(*own) or any(item.startswith(f"{TOKEN}=") for item in set_already):
        return payload
    return {**payload, "Env": [*payload.get("Env", ()), f"{TOKEN}={token}"]}


def _image_config(engine: Engine, image: str) -> Mapping[str, Any]:
    """What an image says of its command; nothing if the machine does not have it."""
    from docker.errors import ImageNotFound

    try:
        inspected = engine.client.api.inspect_image(image)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return {}
    return inspected.get("Config") or {}


def _pull(engine: Engine, image: str, say: Callable[[str], None]) -> None:
    """Have the machine pull an image. Raises Refused with the ways to bring it there."""
    say(f"the machine does not have {image}: pulling it")
    try:
        with docker_errors("pull"):
            for line in pulled(engine, image, None):
                say(line)
    except DockerFailed as error:
        raise _no_image(engine, image, error.message.removeprefix("pull: ")) from error


def _no_image(engine: Engine, image: str, reason: str) -> Refused:
    return Refused(
        f'portal "{engine.portal}" has no image {image}, and it cannot be pulled: {reason}',
        hint=f"xportal push {engine.portal} {image}, or xportal build {engine.portal} DIR -t {image}",
    )
