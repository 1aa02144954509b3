"""A Jupyter server of a portal as a page on this computer, which goes on with the portal's next machine."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from xportal.aws.session import Aws
from xportal.container import Engine
from xportal.container.jupyter import LOOPBACK, Server, list_servers
from xportal.errors import Refused
from xportal.portal.access import OpenPortal
from xportal.portal.tunnel import Leg, free_port
from xportal.portal.up.ready import check_ready
from xportal.progress import Progress

START_SECONDS = 20.0  # in which a server that was just started writes down its port and token
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 10.0


class Notebook:
    """Finds the server on each machine of the portal. The port of this computer stays the same."""

    def __init__(self, aws: Aws, container: str | None, port: int | None, progress: Progress) -> None:
        self._aws = aws
        self._container = container
        self._port = port
        self._progress = progress
        self.server: Server | None = None

    @property
    def url(self) -> str:
        """Where the browser finds it."""
        if self.server is None or self._port is None:
            raise AssertionError("no server was found yet")
        return self.server.url(self._port)

    def legs_on(self, opened: OpenPortal) -> Sequence[Leg]:
        """What leads to the server; the one in the same container as before. Raises Refused if none runs."""
        check_ready(opened.machine, opened.status)
        found = self._wait_for_servers(opened)
        if not found:
            raise self._none(opened.name)
        self.server, *others = found
        if others and self._container is None:
            named = ", ".join(f"--container {s.container}" if s.container else "the machine's own" for s in others)
            self._progress.say(f"other Jupyter servers run, too: {named}")
        self._container = self._container or self.server.container
        self._port = self._port or free_port(self.server.port)
        return [Leg(self._port, self.server.host, self.server.port)]

    def answers(self) -> bool:
        """Whether it answers through the forwarded port, whatever it says."""
        if self.server is None or self.server.is_secure:  # nobody here knows its certificate
            return True
        try:
            opener = build_opener(ProxyHandler({}))
            opener.open(f"http://{LOOPBACK}:{self._port}{self.server.base_url}api", timeout=ANSWER_SECONDS).close()
        except HTTPError as error:
            error.close()
        except (URLError, OSError):
            return False
        return True

    def _wait_for_servers(self, opened: OpenPortal) -> list[Server]:
        deadline = self._aws.clock.monotonic() + START_SECONDS
        with opened.host.docker() as client:
            engine = Engine(client, opened.name)
            while not (found := list_servers(engine, opened.host, self._container)):
                if self._aws.clock.monotonic() > deadline:
                    break
                self._progress.update("no Jupyter server yet")
                self._aws.clock.sleep(LOOK_SECONDS)  # a server that starts tells nobody
        return found

    def _none(self, portal: str) -> Refused:
        where = f'container "{self._container}" of portal "{portal}"' if self._container else f'portal "{portal}"'
        return Refused(
            f"no Jupyter server runs on {where}",
            hint=f"xportal run {portal} --name lab IMAGE -- jupyter lab --ip=0.0.0.0 --no-browser starts one, if IMAGE "
            "has JupyterLab",
        )
