"""The images of a portal's machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from xportal.container.engine import Engine, docker_errors, events, understood
from xportal.reports import ImageReport


def list_images(engine: Engine) -> list[ImageReport]:
    """All but the nameless layers of others, newest first. Raises DockerFailed."""
    with docker_errors("the list of images"):
        listed = engine.client.api.images()
    with understood("the list of images"):
        return [
            ImageReport(
                names=tuple(name for name in image.get("RepoTags") or () if name != "<none>:<none>"),
                id=str(image["Id"]),
                created=datetime.fromtimestamp(int(image["Created"]), timezone.utc),
                size_bytes=int(image["Size"]),
            )
            for image in listed
        ]


def pull_image(engine: Engine, image: str, say: Callable[[str], None]) -> str:
    """Have the machine fetch an image from its registry, tagged `latest` unless it says otherwise; its id.

    Raises DockerFailed with the registry's answer.
    """
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    with docker_errors(f"{image} cannot be pulled"):
        for line in pulled(engine, repository, tag or "latest"):
            say(line)
        return str(engine.client.images.get(image).id)


def pulled(engine: Engine, repository: str, tag: str | None) -> Iterator[str]:
    """What Docker tells of a pull, to its end. Raises DockerException."""
    for event in events(engine.client.api.pull(repository, tag=tag, stream=True, decode=True)):
        if "id" in event:
            yield " ".join([event["id"], event["status"], event.get("progress", "")]).strip()
