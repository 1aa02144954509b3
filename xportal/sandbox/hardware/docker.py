"""Docker Engine on this computer, as far as machines need it. The sandbox's only import of docker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from xportal.errors import HardwareFailure, NotInstalled
from xportal.sandbox.hardware.container import LABEL_ADDRESS, LABEL_HOME, LABEL_INSTANCE

if TYPE_CHECKING:
    from docker import APIClient

_CONSOLE_LINES = 2000
_TIMEOUT_S = 120
_FREEZE_TRIES = 10
_API_VERSION = "1.41"  # Docker 20.10; all that a machine needs is in it


@dataclass(frozen=True)
class Found:
    """A machine's container that exists, with power or without."""

    container_id: str
    instance_id: str
    address: str
    running: bool


class Engine:
    """Containers by id. Raises HardwareFailure; what is gone already is no error where it is to go."""

    def __init__(self, client: APIClient) -> None:
        self.client = client

    @classmethod
    def connect(cls) -> Engine:
        """The engine of DOCKER_HOST or of the usual socket. NotInstalled when none answers."""
        import docker
        import requests
        from docker.utils import kwargs_from_env

        client = None
        try:
            client = docker.APIClient(version=_API_VERSION, timeout=_TIMEOUT_S, **kwargs_from_env())
            client.ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            if client:
                client.close()
            raise NotInstalled(
                f"Docker Engine does not answer: {error}",
                hint="the sandbox's machines are containers; start Docker, or: apt-get install docker.io",
            ) from error
        return cls(client)

    def close(self) -> None:
        """Let go of the connections to it. Idempotent."""
        self.client.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def machines(self, home: str | None = None) -> list[Found]:
        """The machines of one sandbox, or of all sandboxes on this computer."""
        label = LABEL_HOME if home is None else f"{LABEL_HOME}={home}"
        with _failures("list machines"):
            containers = self.client.containers(all=True, filters={"label": label})
        return [
            Found(
                container_id=container["Id"],
                instance_id=container["Labels"].get(LABEL_INSTANCE, ""),
                address=container["Labels"].get(LABEL_ADDRESS, ""),
                running=container["State"] in ("running", "paused"),
            )
            for container in containers
        ]

    def create(self, name: str, config: dict[str, Any]) -> str:
        """A container that is not started; its id."""
        with _failures(f"make {name}"):
            return str(self.client.create_container_from_config(config, name)["Id"])  # type: ignore[no-untyped-call]

    def start(self, container_id: str) -> None:
        with _failures("switch a machine on"):
            self.client.start(container_id)

    def find_process(self, container_id: str) -> int | None:
        """The pid of the machine's init on this computer; None when it has ended or is gone."""
        with _failures("inspect a machine", tolerated=(404,)):
            return int(self.client.inspect_container(container_id)["State"]["Pid"]) or None
        return None

    def get_process(self, container_id: str) -> tuple[int, str]:
        """The pid of the machine's init on this computer, and the machine's address."""
        with _failures("inspect a machine"):
            state = self.client.inspect_container(container_id)
        pid = int(state["State"]["Pid"])
        if pid == 0:
            log = self.console(container_id)[-400:].strip()
            raise HardwareFailure(f"the machine lost power at once: {log}")
        networks = state["NetworkSettings"]["Networks"].values()
        return pid, str(next(iter(networks))["IPAddress"])

    def signal(self, container_id: str, name: str) -> None:
        """Send a signal to the machine's init, unless it is gone."""
        with _failures(f"send {name}", tolerated=(404, 409)):
            self.client.kill(container_id, name)

    def freeze(self, container_id: str) -> bool:
        """Stop all the machine's processes where they are; False when it is gone, or frozen already.

        The kernel gives up freezing a group of processes in which new ones keep appearing, as when
        the machine starts a container; runc thaws it then, and so it is asked again.
        """
        for _ in range(_FREEZE_TRIES - 1):
            try:
                return self._freeze_once(container_id)
            except HardwareFailure as failure:
                if "unable to freeze" not in str(failure):
                    raise
        return self._freeze_once(container_id)

    def _freeze_once(self, container_id: str) -> bool:
        with _failures("freeze a machine", tolerated=(404, 409)):
            self.client.pause(container_id)
            return True
        return False

    def unfreeze(self, container_id: str) -> None:
        """Let a machine's processes go on, unless it is gone or was not frozen."""
        with _failures("unfreeze a machine", tolerated=(404, 409)):
            self.client.unpause(container_id)

    def remove(self, container_id: str) -> None:
        """Kill and remove, with its anonymous volumes."""
        with _failures("remove a machine", tolerated=(404,)):
            self.client.remove_container(container_id, v=True, force=True)

    def console(self, container_id: str) -> str:
        """The end of what the machine printed; "" when it is gone."""
        text = b""
        with _failures("read a console", tolerated=(404,)):
            text = self.client.logs(container_id, tail=_CONSOLE_LINES)
        return text.decode(errors="replace").replace("\r\n", "\n")


@contextmanager
def _failures(what: str, tolerated: tuple[int, ...] = ()) -> Iterator[None]:
    """Docker's exceptions, and those of the connection to it, as HardwareFailure."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        if error.response is None or error.response.status_code not in tolerated:
            raise HardwareFailure(f"Docker could not {what}: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HardwareFailure(f"Docker could not {what}: {error}", hint="is Docker Engine running?") from error
