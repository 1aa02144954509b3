"""A machine reached with Fabric: pinned host key, our own login key, no agent, nothing of ~/.ssh."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xportal.errors import DockerFailed
from xportal.remote import channels
from xportal.remote.forward import Forward
from xportal.remote.host import Completed, Login
from xportal.remote.known_hosts import known_hosts_line

if TYPE_CHECKING:
    from docker import DockerClient
    from fabric import Connection
    from paramiko import Channel, Transport

KEEPALIVE_S = 15
# without it a machine that was switched off is noticed after a quarter of an hour
UNANSWERED_MS = 60_000
DOCKER_ARGV = ("docker", "system", "dial-stdio")
DOCKER_TIMEOUT_S = 900
LOGIN_S = 20
_WRITE_WHOLE = 'cat > "$1.partial" && chmod "$2" "$1.partial" && mv -f "$1.partial" "$1"'


class FabricHost:
    """A Host over one open fabric Connection. Takes the connection over and closes it."""

    def __init__(self, login: Login, connection: Connection) -> None:
        self.login = login
        self._connection = connection

    def __repr__(self) -> str:
        state = "open" if self._connection.is_connected else "closed"
        return f"<FabricHost {self.login.user}@{self.login.address}:{self.login.port} {state}>"

    def __enter__(self) -> FabricHost:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,  # noqa: A002 (its name in subprocess)
        timeout: float | None = None,
        check: bool = True,
    ) -> Completed:
        command = self._command(argv)
        completed = channels.run(command, stdin=input or b"", timeout=timeout)
        if check and completed.status != 0:
            raise command.failure(completed.status)
        return completed

    def lines(self, argv: Sequence[str], *, timeout: float | None = None) -> Iterator[str]:
        yield from channels.lines(self._command(argv), silence=timeout)

    def put(self, data: bytes, path: str, mode: int = 0o644) -> None:
        self.run(["sh", "-c", _WRITE_WHOLE, "sh", path, f"{mode:o}"], input=data)

    @contextmanager
    def docker(self) -> Iterator[DockerClient]:
        with Forward(self._docker_stream) as forward:
            client = self._docker_client(forward)
            try:
                with self._docker_errors(forward):
                    yield client
            finally:
                client.close()

    def close(self) -> None:
        close(self._connection)

    def _transport(self) -> Transport:
        transport = self._connection.transport
        if transport is None or not transport.is_active():
            raise channels.lost(self.login.address)
        return transport

    def _command(self, argv: Sequence[str]) -> channels.Command:
        return channels.Command(self._transport(), argv, address=self.login.address)

    def _docker_stream(self) -> Channel:
        channel = self._transport().open_session(window_size=channels.WINDOW)
        channel.exec_command(shlex.join(DOCKER_ARGV))
        return channel

    def _docker_client(self, forward: Forward) -> DockerClient:
        from docker.errors import DockerException

        try:
            return _dialled(forward)
        except DockerException as error:
            self._transport()  # MachineLost, if it is that
            if "permission denied" not in forward.complaint:
                raise self._docker_silent(forward, error) from error
        # logged in before the user was in Docker's group: a login takes its groups along
        self._log_in_again()
        try:
            return _dialled(forward)
        except DockerException as error:
            raise self._docker_silent(forward, error) from error

    def _log_in_again(self) -> None:
        from paramiko import SSHException

        try:
            connection = open_connection(self.login, timeout=LOGIN_S)
        except (SSHException, EOFError, OSError) as error:
            raise channels.lost(self.login.address) from error
        close(self._connection)
        self._connection = connection

    @contextmanager
    def _docker_errors(self, forward: Forward) -> Iterator[None]:
        """Whatever the caller did not map itself, in our words."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as error:
            raise DockerFailed(f"Docker on {self.login.address}: {error.explanation or error}") from error
        except DockerException as error:
            raise DockerFailed(f"Docker on {self.login.address}: {error}") from error
        except BrokenPipeError:
            raise  # the caller's own stdout: Docker's sockets break inside of requests
        except (RequestException, HTTPError, ConnectionError) as error:
            self._transport()
            raise self._docker_silent(forward, error) from error

    def _docker_silent(self, forward: Forward, error: Exception) -> DockerFailed:
        return DockerFailed(
            f"Docker on {self.login.address} does not answer: {forward.complaint or error}",
            hint="xportal status says whether the machine is ready",
        )


def _dialled(forward: Forward) -> DockerClient:
    """A client whose requests share connections. Raises DockerException if Docker does not answer.

    The docker package keeps a pool for every URL it was ever asked for. Each of those idle
    connections is a session of sshd here, which allows ten.
    """
    from docker import DockerClient
    from docker.transport import UnixHTTPAdapter

    class OnePool(UnixHTTPAdapter):
        def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:
            return super().get_connection("http+docker://localhost", proxies)

    client = DockerClient(base_url=f"unix://{forward.path}", timeout=DOCKER_TIMEOUT_S)
    client.api.get_adapter(client.api.base_url).close()
    client.api.mount("http+docker://", OnePool(f"http+unix://{forward.path}", DOCKER_TIMEOUT_S))
    return client


def open_connection(login: Login, *, timeout: float) -> Connection:
    """One try to log in, within about `timeout` seconds. Raises what paramiko and the socket raise."""
    from fabric import Config, Connection

    connection = Connection(
        login.address,
        user=login.user,
        port=login.port,
        config=Config(overrides={"load_ssh_configs": False}, lazy=True),
        connect_timeout=max(1, round(timeout)),
        connect_kwargs={
            "key_filename": str(login.key_file),
            "look_for_keys": False,
            "allow_agent": False,
            "banner_timeout": timeout,
            "auth_timeout": timeout,
        },
    )
    _pin(connection, login)
    try:
        connection.open()
    except BaseException:
        close(connection)
        raise
    _keep_alive(connection.transport)
    return connection


def close(connection: Connection) -> None:
    """Close a connection, also one whose login failed half-way: fabric leaves that one's thread running."""
    connection.close()
    connection.client.close()


def _pin(connection: Connection, login: Login) -> None:
    """Accept this machine's host key alone; fabric would add any key it meets."""
    from paramiko import RejectPolicy
    from paramiko.hostkeys import HostKeyEntry

    entry = HostKeyEntry.from_line(known_hosts_line(login))
    if entry is None:
        raise ValueError(f"not a host key: {login.host_key!r}")
    for name in entry.hostnames:
        connection.client.get_host_keys().add(name, entry.key.get_name(), entry.key)
    connection.client.set_missing_host_key_policy(RejectPolicy())


def _keep_alive(transport: Transport) -> None:
    transport.set_keepalive(KEEPALIVE_S)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux; elsewhere the system's own patience
    if option is not None:
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, UNANSWERED_MS)
