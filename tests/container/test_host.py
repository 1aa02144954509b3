"""The Host seam over fabric, against a real sshd."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.container import sshd
from xportal.errors import KeyRefused, LoginRefused, MachineGone, MachineLost, RemoteFailed
from xportal.remote import FabricHost, Login, connect, ssh_argv

NASTY = ["a b", "$(touch /tmp/never)", "'", '"', "`id`", "\n", "-x", "*", "ü", ""]


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def test_run_passes_arguments_untouched(host: FabricHost) -> None:
    """Every argument arrives as it was given, whatever a shell would make of it."""
    done = host.run(["printf", "%s\\0", *NASTY])
    assert done.stdout.split("\0")[:-1] == NASTY
    assert (done.stderr, done.status) == ("", 0)


def test_run_feeds_stdin_and_keeps_streams_apart(host: FabricHost) -> None:
    """Input larger than every window comes back whole, stderr beside it."""
    data = bytes(range(256)) * 16384
    done = host.run(["sh", "-c", "tee /dev/stderr | sha256sum"], input=data * 4)
    assert len(done.stderr) > 0
    expected = subprocess.run(["sha256sum"], input=data * 4, capture_output=True, check=True).stdout.decode()
    assert done.stdout == expected


def test_run_without_input_has_an_empty_stdin(host: FabricHost) -> None:
    """A command that reads stdin ends instead of waiting for ever."""
    assert host.run(["cat"], timeout=10).stdout == ""


def test_failure_tells_command_status_and_reason(host: FabricHost) -> None:
    """A non-zero status raises RemoteFailed with the last line of stderr, unless told not to."""
    argv = ["sh", "-c", "echo first >&2; echo second >&2; exit 7"]
    with pytest.raises(RemoteFailed, match=r"ended with status 7: second$") as failed:
        host.run(argv)
    assert failed.value.status == 7
    assert host.run(argv, check=False).status == 7


def test_killed_command_has_status_minus_one(host: FabricHost) -> None:
    """A command that a signal ended is told apart from a broken connection."""
    assert host.run(["sh", "-c", "kill -9 $$"], check=False).status == -1


def test_timeout_raises(host: FabricHost) -> None:
    """A command that takes too long is given up, also when it keeps talking or listening."""
    for argv in (["sleep", "30"], ["yes"]):
        began = time.monotonic()
        with pytest.raises(RemoteFailed, match="in time"):
            host.run(argv, timeout=0.5)
        assert time.monotonic() - began < 5


def test_lines_come_as_they_are_written(host: FabricHost) -> None:
    """The first line is there long before the command ends; the last needs no line end."""
    began = time.monotonic()
    lines = host.lines(["sh", "-c", "echo one; sleep 1; printf 'two\\nthree'"])
    assert next(lines) == "one"
    assert time.monotonic() - began < 0.9
    assert list(lines) == ["two", "three"]


def test_lines_raise_after_the_last_line(host: FabricHost) -> None:
    """What was written before a failure is not lost."""
    lines = host.lines(["sh", "-c", "echo out; echo why >&2; exit 3"])
    assert next(lines) == "out"
    with pytest.raises(RemoteFailed, match="status 3: why"):
        next(lines)


def test_lines_can_be_left_early(host: FabricHost) -> None:
    """Closing the iterator frees the connection for the next command."""
    lines = host.lines(["yes"])
    assert next(lines) == "y"
    lines.close()  # type: ignore[attr-defined]
    assert host.run(["echo", "next"]).stdout == "next\n"


def test_lines_limit_silence(host: FabricHost) -> None:
    """The timeout of lines() is the longest silence, not the whole duration."""
    talking = "for i in 1 2 3 4; do echo $i; sleep 0.3; done"
    assert list(host.lines(["sh", "-c", talking], timeout=0.9)) == ["1", "2", "3", "4"]
    with pytest.raises(RemoteFailed, match="in time"):
        list(host.lines(["sleep", "30"], timeout=0.3))


def test_put_writes_whole_files(host: FabricHost, tmp_path: Path) -> None:
    """Content and mode are as given, also over an existing file, and nothing else stays behind."""
    target = tmp_path / "a b 'c'"
    for content, mode in ((b"\x00\xff" * 70000, 0o600), (b"", 0o755)):
        host.put(content, str(target), mode)
        assert target.read_bytes() == content
        assert target.stat().st_mode & 0o7777 == mode
    assert list(tmp_path.iterdir()) == [target]


def test_put_fails_with_words(host: FabricHost) -> None:
    """A directory that does not exist is an error, not a silent nothing."""
    with pytest.raises(RemoteFailed, match="nonexistent"):
        host.put(b"x", "/nonexistent/file")


def test_closed_connection_is_machine_lost(login: Login) -> None:
    """After close() every call says that the connection is gone; closing again does no harm."""
    host = connect(login, deadline=soon())
    host.close()
    host.close()
    with pytest.raises(MachineLost):
        host.run(["true"])
    with pytest.raises(MachineLost):
        list(host.lines(["true"]))


def test_connection_that_breaks_is_machine_lost(host: FabricHost) -> None:
    """A machine that goes away in the middle of a command is not mistaken for a failing command."""
    with pytest.raises(MachineLost, match="broke"):
        host.run(["sh", "-c", 'kill -9 "$(ps -o ppid= -p $$ | tr -d " ")"; sleep 30'])


def test_other_host_key_is_refused_at_once(login: Login, tmp_path: Path) -> None:
    """A machine with another key gets neither a second try nor our key, of the same type or another."""
    other = sshd.make_home(tmp_path).host_key
    ecdsa = tmp_path / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(ecdsa)], check=True)
    for key in (other, " ".join(ecdsa.with_suffix(".pub").read_text().split()[:2])):
        began = time.monotonic()
        with pytest.raises(LoginRefused, match="another host key"):
            connect(replace(login, host_key=key), deadline=soon(30))
        assert time.monotonic() - began < 5


def test_connect_waits_for_a_booting_machine(tmp_path: Path) -> None:
    """Refused connections and a key that is not authorized yet pass by themselves."""
    login = sshd.make_home(tmp_path)
    keys = tmp_path / "authorized_keys"
    keys.rename(tmp_path / "later")
    result: list[str] = []

    def log_in() -> None:
        with connect(login, deadline=soon(30)) as host:
            result.append(host.run(["echo", "in"]).stdout)

    thread = threading.Thread(target=log_in)
    thread.start()
    time.sleep(0.5)
    with sshd.running(tmp_path):
        sshd.wait_listening(login)
        log = tmp_path / "sshd.log"
        deadline = soon()
        while "closed by authenticating user" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        (tmp_path / "later").rename(keys)
        thread.join(timeout=20)
    assert result == ["in\n"]


def test_connect_gives_up_at_the_deadline(tmp_path: Path) -> None:
    """Nobody listens: the error says so, in time."""
    login = sshd.make_home(tmp_path)
    began = time.monotonic()
    with pytest.raises(MachineLost, match="does not answer ssh"):
        connect(login, deadline=soon(1))
    assert time.monotonic() - began < 4


def test_connect_gives_up_when_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    """What is looked at after a try that failed ends it, long before the deadline."""
    login = sshd.make_home(tmp_path)

    def look() -> None:
        raise MachineGone("it is terminated")

    with pytest.raises(MachineGone):
        connect(login, deadline=soon(60), look=look)


@contextmanager
def deaf(login: Login) -> Iterator[Login]:
    """A machine that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield replace(login, port=server.getsockname()[1])


def test_a_silent_machine_is_told_of(tmp_path: Path) -> None:
    """Who waits for longer than a login takes hears why, though the try itself goes on."""
    told: list[tuple[float, str]] = []
    began = time.monotonic()
    with deaf(sshd.make_home(tmp_path)) as login, pytest.raises(MachineLost):
        connect(login, deadline=soon(6), tell=lambda text: told.append((time.monotonic() - began, text)))
    assert told
    assert 3 <= told[0][0] < 5
    assert "does not answer yet" in told[0][1]


def test_a_machine_that_is_gone_ends_a_try(tmp_path: Path) -> None:
    """AWS is looked at while a try hangs, and its word ends the wait at once; the try leaves no thread."""
    before = set(threading.enumerate())

    def look() -> None:
        raise MachineGone("it is terminated")

    began = time.monotonic()
    with deaf(sshd.make_home(tmp_path)) as login:
        with pytest.raises(MachineGone):
            connect(login, deadline=soon(60), look=look)
        assert time.monotonic() - began < 6
    wait_until(lambda: set(threading.enumerate()) <= before, 30)


@contextmanager
def late(login: Login, moment: threading.Event) -> Iterator[tuple[Login, Callable[[], bool]]]:
    """A machine that says nothing before a moment, and then is like any other; and whether a login to it is over."""
    pumps: list[threading.Thread] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        assert moment.wait(30)
        machine = socket.create_connection((login.address, login.port))
        with client, machine:
            pumps.extend(threading.Thread(target=pump, args=both) for both in ((client, machine), (machine, client)))
            for one in pumps:
                one.start()
            for one in pumps:
                one.join()

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        yield replace(login, port=server.getsockname()[1]), lambda: bool(pumps) and not serving.is_alive()
        serving.join(30)


def test_a_try_that_is_given_up_closes_its_connection(login: Login) -> None:
    """A login that comes through after nobody waits for it any more is no connection that stays open."""
    before = set(threading.enumerate())
    given_up = threading.Event()

    def look() -> None:
        raise MachineGone("it is terminated")

    with late(login, given_up) as (slow, is_over):
        with pytest.raises(MachineGone):
            connect(slow, deadline=soon(30), look=look)
        given_up.set()
        wait_until(is_over, 20)
    wait_until(lambda: set(threading.enumerate()) <= before, 10)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Until it is true."""
    deadline = soon(seconds)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_refused_key_names_the_key(login: Login, tmp_path: Path) -> None:
    """A key that stays unauthorized until the deadline is an error about the key."""
    stranger = sshd.make_home(tmp_path).key_file
    with pytest.raises(KeyRefused, match="refuses the key"):
        connect(replace(login, key_file=stranger), deadline=soon(1))
    began = time.monotonic()
    with pytest.raises(KeyRefused):
        connect(replace(login, key_file=stranger), deadline=soon(60), key_may_be_late=1.0)
    assert time.monotonic() - began < 30


def test_system_ssh_uses_the_pinned_key(login: Login) -> None:
    """The command line for people runs the very arguments, with our known_hosts file alone."""
    done = subprocess.run(ssh_argv(login, ["printf", "%s\\0", *NASTY]), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == NASTY


def test_system_ssh_refuses_another_host_key(login: Login, tmp_path: Path) -> None:
    """A wrong host key ends ssh before anything runs, and the file follows the login."""
    wrong = replace(login, host_key=sshd.make_home(tmp_path).host_key)
    done = subprocess.run(ssh_argv(wrong, ["true"]), capture_output=True, check=False)
    assert done.returncode == 255
    assert b"HOST IDENTIFICATION HAS CHANGED" in done.stderr or b"verification failed" in done.stderr
    assert subprocess.run(ssh_argv(login, ["true"]), check=False).returncode == 0


def test_ssh_argv_quotes_a_key_directory_with_spaces(login: Login, tmp_path: Path) -> None:
    """UserKnownHostsFile is a list of files: a home directory with a space must not split it."""
    spaced = tmp_path / "my keys"
    spaced.mkdir()
    key = spaced / "key"
    key.write_bytes(login.key_file.read_bytes())
    key.chmod(0o600)
    assert subprocess.run(ssh_argv(replace(login, key_file=key), ["true"]), check=False).returncode == 0
