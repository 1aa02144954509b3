"""Containers on a machine: this computer's Docker, reached as a portal's is, through ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xportal.container import (
    STDERR,
    STDOUT,
    Engine,
    Output,
    RunOptions,
    create,
    execute,
    get_container,
    interactive_argv,
    list_containers,
    read_logs,
    remove,
    run,
    run_attached,
    stop,
)
from xportal.errors import ContainerConflict, DockerFailed, NoSuchContainer, Refused, UsageError
from xportal.remote import FabricHost, Login, ssh_argv

pytestmark = pytest.mark.machine

Options = Callable[..., RunOptions]


def quiet(_text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def options(shell_image: str, mark: str) -> Options:
    """RunOptions for the shell image, marked for removal; a name gets the mark before it."""

    def make(*command: str, name: str | None = None, **others: Any) -> RunOptions:
        labels = (mark, *others.pop("labels", ()))
        return RunOptions(
            shell_image, command, name=f"{mark}-{name}" if name else None, labels=labels, network="none", **others
        )

    return make


@pytest.fixture
def sleeper(engine: Engine, options: Options) -> str:
    """A container that runs until it is told not to."""
    return run(engine, options("sleep", "1000", name="sleeper"), quiet).name


def text_of(outputs: Iterator[Output], stream: int = STDOUT) -> str:
    return b"".join(output.data for output in outputs if output.stream == stream).decode()


def test_run_lists_stops_and_removes(engine: Engine, options: Options) -> None:
    """A container's life: running, listed, stopped, listed with -a alone, removed."""
    started = run(engine, options("sleep", "1000", name="life"), quiet)
    listed = {c.name: c for c in list_containers(engine, stopped=False)}[started.name]
    assert (listed.running, listed.gpu, listed.image) == (True, False, started.image)
    assert listed.status.startswith("Up")
    began = time.monotonic()
    stop(engine, started.name)
    stop(engine, started.name)
    assert time.monotonic() - began < 8, "init passes SIGTERM on"
    assert started.name not in {c.name for c in list_containers(engine, stopped=False)}
    assert {c.name: c for c in list_containers(engine, stopped=True)}[started.name].status.startswith("Exited")
    remove(engine, started.name)
    with pytest.raises(NoSuchContainer, match=started.name):
        get_container(engine, started.name)


def test_settings_arrive(engine: Engine, options: Options) -> None:
    """Environment, user, directory, shm and entry point are what the process finds."""
    script = 'echo "$A|$0|$1"; id -u; echo "$PWD"; stat -f -c %b*%S /dev/shm'
    made = options(
        "-c",
        script,
        "zero",
        "two words",
        entrypoint="/bin/sh",
        env=("A=b c",),
        user="alice",
        workdir="/etc",
        shm_size="4m",
    )
    following = run_attached(engine, made, quiet)
    lines = text_of(following.outputs()).splitlines()
    following.close()
    blocks, size = lines[3].split("*")
    assert lines[:3] == ["b c|zero|two words", "1234", "/etc"]
    assert int(blocks) * int(size) == 4 << 20


def test_taken_name_is_a_conflict(engine: Engine, options: Options, sleeper: str) -> None:
    """A second container of a name is refused with the way to remove the first, which goes on."""
    with pytest.raises(ContainerConflict) as refused:
        run(engine, options("true", name="sleeper"), quiet)
    assert refused.value.hint.startswith(f"xportal rm demo {sleeper}")
    assert get_container(engine, sleeper).status == "running"


def test_missing_image_names_the_ways(engine: Engine, options: Options) -> None:
    """An image that is neither there nor to be pulled: push and build are the hint; nothing was created."""
    said: list[str] = []
    nowhere = replace(options(name="nothing"), image="127.0.0.1:1/no/image")
    with pytest.raises(Refused, match="cannot be pulled") as refused:
        run(engine, nowhere, said.append)
    assert "xportal push demo 127.0.0.1:1/no/image" in refused.value.hint
    assert "pulling" in said[0]
    assert nowhere.name is not None
    with pytest.raises(NoSuchContainer):
        get_container(engine, nowhere.name)


def test_container_that_does_not_start_is_undone(engine: Engine, options: Options) -> None:
    """A command that does not exist leaves no container that would hold the name."""
    for _ in range(2):
        with pytest.raises(DockerFailed, match="did not start"):
            run(engine, options("/no/such/program", name="bad", init=False), quiet)


def test_gpu_on_a_machine_without_is_dockers_error(engine: Engine, options: Options) -> None:
    """If the machine turns out to have no GPU after all, the error is Docker's, in our form."""
    with pytest.raises(DockerFailed, match="gpu"):
        run(replace(engine, gpu=True), options("true", name="gpu"), quiet)


def test_ports_are_published_on_loopback(engine: Engine, options: Options) -> None:
    """`ps` shows the loopback address; a taken port is refused in words."""
    made = replace(options("sleep", "1000", name="port", ports=("8080",)), network=None)
    run(engine, made, quiet)
    (port,) = {c.name: c for c in list_containers(engine, stopped=False)}[str(made.name)].ports
    assert port.startswith("127.0.0.1:")
    assert port.endswith("->8080/tcp")
    taken = port.split("->")[0].split(":")[1]
    with pytest.raises(Refused, match=r"allocated|in use") as refused:
        run(engine, replace(made, name=f"{made.name}-2", ports=(f"{taken}:80",)), quiet)
    assert "-p" in refused.value.hint


def test_logs_keep_streams_apart(engine: Engine, options: Options) -> None:
    """Stdout and stderr come back as they were written, whole or the last lines."""
    following = run_attached(engine, options("sh", "-c", "seq 3; echo oh >&2", name="logs"), quiet)
    assert following.status() == 0
    following.close()
    name = following.started.name
    assert text_of(read_logs(engine, name, follow=False)) == "1\n2\n3\n"
    assert text_of(read_logs(engine, name, follow=False), STDERR) == "oh\n"
    assert b"".join(o.data for o in read_logs(engine, name, follow=False, tail=2)).count(b"\n") == 2
    with pytest.raises(NoSuchContainer):
        read_logs(engine, "nobody", follow=True)


def test_logs_follow_until_the_end(engine: Engine, options: Options) -> None:
    """Lines arrive while the container runs, and following ends when it does."""
    run(engine, options("sh", "-c", "echo one; sleep 1; echo two", name="follow"), quiet)
    began = time.monotonic()
    outputs = read_logs(engine, str(options(name="follow").name), follow=True)
    assert next(outputs).data == b"one\n"
    assert time.monotonic() - began < 0.9
    assert text_of(outputs) == "two\n"


def test_logs_of_a_terminal(engine: Engine, options: Options) -> None:
    """A container with a terminal has one stream, which is not taken for frames."""
    started = run(engine, options("sh", "-c", "echo out; echo err >&2", name="tty", tty=True), quiet)
    assert text_of(read_logs(engine, started.name, follow=True)) == "out\r\nerr\r\n"


def test_following_sees_first_byte_and_status(engine: Engine, options: Options) -> None:
    """A container that is gone at once, even removed, still gives all its output and its exit status."""
    for removed in (False, True):
        following = run_attached(engine, options("sh", "-c", "echo out; echo err >&2; exit 3", remove=removed), quiet)
        outputs = list(following.outputs())
        assert (text_of(iter(outputs)), text_of(iter(outputs), STDERR)) == ("out\n", "err\n")
        assert following.status() == 3
        following.close()


def test_attached_container_reads_our_stdin(engine: Engine, options: Options, tmp_path: Path) -> None:
    """`run -i` carries a file in, and its end ends the container."""
    (tmp_path / "in").write_bytes(b"line\n" * 100_000)
    following = run_attached(engine, options("cat", interactive=True, remove=True), quiet)
    with (tmp_path / "in").open("rb") as stdin:
        received = text_of(following.outputs(stdin))
    assert received == "line\n" * 100_000
    assert following.status() == 0
    following.close()


def collect(engine: Engine, name: str, *argv: str, **others: Any) -> tuple[int, bytes, bytes]:
    """The exit status, stdout and stderr of a command in a container."""
    kept: dict[int, bytes] = {STDOUT: b"", STDERR: b""}

    def keep(output: Output) -> None:
        kept[output.stream] += output.data

    return execute(engine, name, argv, keep, **others), kept[STDOUT], kept[STDERR]


def test_exec_returns_streams_and_status(engine: Engine, sleeper: str) -> None:
    """The command's exit status is returned, its arguments and streams are untouched."""
    script = 'echo "$1"; echo err >&2; exit 42'
    assert collect(engine, sleeper, "sh", "-c", script, "x", "$(a) 'b'\n") == (42, b"$(a) 'b'\n\n", b"err\n")
    assert collect(engine, sleeper, "id", "-u", user="alice")[1] == b"1234\n"
    assert collect(engine, sleeper, "sh", "-c", 'echo "$A$PWD"', env=("A=1",), workdir="/etc")[1] == b"1/etc\n"


def test_exec_output_is_never_cut_at_its_beginning(engine: Engine, sleeper: str) -> None:
    """What arrives together with the answer's header is not lost."""
    for _ in range(5):
        assert collect(engine, sleeper, "echo", "first")[1] == b"first\n"


def test_exec_carries_stdin_both_ways(engine: Engine, sleeper: str, tmp_path: Path) -> None:
    """Megabytes go in and come out again, and the end of the file is passed on."""
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open("rb") as stdin:
        assert collect(engine, sleeper, "cat", stdin=stdin) == (0, data, b"")


def test_exec_ends_though_stdin_stays_open(engine: Engine, sleeper: str) -> None:
    """A pipe that nobody closes does not keep a command that has ended."""
    source, sink = os.pipe()
    with open(source, "rb") as stdin, open(sink, "wb"):
        began = time.monotonic()
        assert collect(engine, sleeper, "echo", "done", stdin=stdin)[:2] == (0, b"done\n")
        assert time.monotonic() - began < 5


def test_exec_needs_a_running_container(engine: Engine, options: Options) -> None:
    """A stopped container is refused, an unknown one is unknown, a program that is not there is 126 or 127."""
    created = create(engine, options("true", name="created"), quiet)
    with pytest.raises(Refused, match="not running"):
        collect(engine, created.name, "true")
    with pytest.raises(NoSuchContainer):
        collect(engine, "nobody", "true")
    sleeper = run(engine, options("sleep", "1000"), quiet)
    assert collect(engine, sleeper.name, "/no/such/program")[0] in (126, 127)


def test_interactive_exec_is_a_command_line_for_ssh(login: Login, sleeper: str) -> None:
    """The machine's docker gets every argument as it is."""
    argv = interactive_argv(
        sleeper, ["sh", "-c", 'echo "$1"', "x", "a 'b' $(c)"], stdin=False, tty=False, env=("E=1 2",)
    )
    done = subprocess.run(ssh_argv(login, argv), capture_output=True, text=True, check=True)
    assert done.stdout == "a 'b' $(c)\n"


def test_running_container_is_not_removed_unasked(engine: Engine, sleeper: str) -> None:
    """rm refuses a running container with the way out; with force it goes."""
    with pytest.raises(ContainerConflict) as refused:
        remove(engine, sleeper)
    assert "rm -f" in refused.value.hint
    remove(engine, sleeper, force=True)
    with pytest.raises(NoSuchContainer):
        stop(engine, sleeper)


def test_docker_refuses_an_option_as_usage(engine: Engine, options: Options) -> None:
    """What only Docker can judge is still a usage error in our form."""
    with pytest.raises(UsageError, match="Docker refuses"):
        create(engine, options("true", name="bad name!"), quiet)


def test_group_given_after_the_login(host: FabricHost, bin_dir: Path) -> None:
    """A login from before the user was in Docker's group is renewed; if that does not help, the error says why."""
    docker = shutil.which("docker")
    denied = "echo permission denied while trying to connect >&2; exit 1"
    program = bin_dir / "docker"
    program.touch(0o755)
    program.write_text(
        f'#!/bin/sh\n[ -e {bin_dir}/member ] || {{ touch {bin_dir}/member; {denied}; }}\nexec {docker} "$@"\n'
    )
    with host.docker() as client:
        assert client.ping()
    assert host.run(["echo", "still here"]).stdout == "still here\n"
    program.write_text(f"#!/bin/sh\n{denied}\n")
    with pytest.raises(DockerFailed, match="permission denied"), host.docker():
        pass


def test_our_own_broken_pipe_is_not_dockers(host: FabricHost) -> None:
    """Whoever reads our stdout and goes away ends the program quietly, not with an error about Docker."""
    with pytest.raises(BrokenPipeError), host.docker():
        raise BrokenPipeError


def test_docker_that_does_not_answer_says_why(host: FabricHost, bin_dir: Path) -> None:
    """A machine whose Docker is down: the error has the words of the machine's docker command."""
    (bin_dir / "docker").write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
    (bin_dir / "docker").chmod(0o755)
    with pytest.raises(DockerFailed, match="Cannot connect to the Docker daemon"), host.docker():
        pass
