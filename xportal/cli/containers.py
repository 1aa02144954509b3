"""Commands on containers and images: the portal first, then as `docker` has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from xportal import local
from xportal.cli.docker_like import DockerLike
from xportal.cli.drives import time_text
from xportal.cli.options import Context, with_common_options
from xportal.errors import UsageError

if TYPE_CHECKING:
    from xportal.container import Engine, Following, Output, Progress, RunOptions
    from xportal.portal.access import OpenPortal
    from xportal.reports import Report

Portal = Annotated[str, typer.Argument(metavar="PORTAL", help="The portal whose machine it is.")]
Name = Annotated[str, typer.Argument(metavar="CONTAINER", help="The container's name or id.")]
Names = Annotated[list[str], typer.Argument(metavar="CONTAINER...", help="Names or ids.")]
Command = Annotated[
    list[str] | None, typer.Argument(metavar="COMMAND", help="After `--` or without: all that follows is its own.")
]
Env = Annotated[list[str] | None, typer.Option("-e", "--env", metavar="NAME[=VALUE]", help="May be repeated.")]
Workdir = Annotated[str | None, typer.Option("-w", "--workdir", metavar="PATH", help="Where the command starts.")]
User = Annotated[str | None, typer.Option("-u", "--user", metavar="NAME", help="Who runs it.")]
Interactive = Annotated[bool, typer.Option("-i", "--interactive", help="Our stdin becomes the command's.")]
Grace = Annotated[
    int | None, typer.Option("-t", "--time", metavar="SECONDS", help="Between SIGTERM and SIGKILL.", min=0)
]
Tty = Annotated[bool, typer.Option("-t", "--tty", help="With a terminal.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (run, exec_, logs, ps, start, stop, restart, rm, images, pull, push, build):
        name = command.__name__.rstrip("_")
        cls = DockerLike if command in (run, exec_) else None
        app.command(name, cls=cls, rich_help_panel="Containers")(with_common_options(command))


def run(
    ctx: Context,
    portal: Portal,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    command: Command = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The container's name.")] = None,
    env: Env = None,
    env_file: Annotated[
        list[Path] | None,
        typer.Option("--env-file", metavar="FILE", help="Of this computer, with a line NAME=VALUE for each variable."),
    ] = None,
    publish: Annotated[
        list[str] | None,
        typer.Option("-p", "--publish", metavar="[PORT:]PORT", help="A port, bound to the machine's loopback."),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option("-v", "--volume", metavar="SOURCE:PATH", help="A directory under /v1, or a named volume."),
    ] = None,
    workdir: Workdir = None,
    user: User = None,
    shm_size: Annotated[str | None, typer.Option("--shm-size", metavar="SIZE", help="Of /dev/shm, as in 8g.")] = None,
    ipc: Annotated[str | None, typer.Option("--ipc", metavar="MODE", help="host shares the machine's.")] = None,
    ulimit: Annotated[
        list[str] | None, typer.Option("--ulimit", metavar="NAME=SOFT[:HARD]", help="May be repeated.")
    ] = None,
    memory: Annotated[str | None, typer.Option("-m", "--memory", metavar="SIZE", help="The most it may use.")] = None,
    cpus: Annotated[
        float | None, typer.Option("--cpus", metavar="N", help="The most processors' time, as in 1.5.")
    ] = None,
    entrypoint: Annotated[str | None, typer.Option("--entrypoint", metavar="PROGRAM")] = None,
    restart: Annotated[
        str | None, typer.Option("--restart", metavar="POLICY", help="no, always, unless-stopped, on-failure[:N].")
    ] = None,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME")] = None,
    label: Annotated[list[str] | None, typer.Option("-l", "--label", metavar="NAME[=VALUE]")] = None,
    init: Annotated[bool, typer.Option("--init/--no-init", help="A PID 1 that passes signals on.")] = True,
    gpu: Annotated[bool, typer.Option("--gpu/--no-gpu", help="The machine's GPUs, whenever it has some.")] = True,
    remove: Annotated[bool, typer.Option("--rm", help="Remove it when it ends.")] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="In the background: so it is anyway.")] = False,
    attach: Annotated[
        bool, typer.Option("-a", "--attach", "--follow", help="Show its output; its exit status is ours.")
    ] = False,
    interactive: Interactive = False,
    tty: Tty = False,
) -> None:
    """Run a container, in the background unless told otherwise."""
    from xportal.container import RunOptions

    attach = attach or (interactive and not detach)
    if attach and detach:
        raise UsageError("--detach and --attach exclude each other", hint="give one of them")
    options = RunOptions(
        image=image,
        command=tuple(command or ()),
        name=name,
        env=(*_from_files(env_file or ()), *(env or ())),
        ports=tuple(publish or ()),
        mounts=tuple(volume or ()),
        workdir=workdir,
        user=user,
        shm_size=shm_size,
        ipc=ipc,
        ulimits=tuple(ulimit or ()),
        memory=memory,
        cpus=cpus,
        entrypoint=entrypoint,
        restart=restart,
        network=network,
        labels=tuple(label or ()),
        init=init,
        gpu=gpu,
        remove=remove,
        interactive=interactive,
        tty=tty,
    )
    if attach and tty:
        _run_on_terminal(ctx, portal, options)
    elif attach:
        _run_attached(ctx, portal, options)
    else:
        _run_detached(ctx, portal, options)


def _from_files(paths: Sequence[Path]) -> list[str]:
    """The variables of all files. Raises LocalFileError, UsageError."""
    from xportal.container import env_file

    items: list[str] = []
    for path in paths:
        with local.files(f"--env-file {path}"):
            items += env_file(path.read_text(errors="surrogateescape"), str(path))
    return items


def exec_(
    ctx: Context,
    portal: Portal,
    container: Name,
    command: Command = None,
    env: Env = None,
    workdir: Workdir = None,
    user: User = None,
    interactive: Interactive = False,
    tty: Tty = False,
) -> None:
    """Run a command in a container that runs; its exit status is ours."""
    from xportal.container import STDERR, STDOUT, environment, execute, get_running, interactive_argv
    from xportal.portal.staying import explained
    from xportal.reports import ExecReport

    if not command:
        raise UsageError("exec needs a command", hint=f"xportal exec {portal} {container} -- COMMAND")
    common: dict[str, Any] = {"env": environment(env or (), os.environ), "workdir": workdir, "user": user}
    if tty:
        _check_terminal()
        with _opened(ctx, portal) as (opened, engine):
            get_running(engine, container)
        _become(opened, interactive_argv(container, command, stdin=interactive, **common))
    sink = _Sink(ctx)
    with _opened(ctx, portal) as (opened, engine), explained(opened):
        stdin = sys.stdin.buffer if interactive else None
        status = execute(engine, container, command, sink.write, stdin=stdin, **common)
    sink.end()
    if ctx.json:
        ctx.console.answer_json(ExecReport(container, status, sink.text(STDOUT), sink.text(STDERR)))
    raise typer.Exit(status)


def logs(
    ctx: Context,
    portal: Portal,
    container: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it writes.")] = False,
    tail: Annotated[
        int | None, typer.Option("-n", "--tail", metavar="LINES", help="The last lines alone.", min=0)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="What is not older: 10m, 1h30m, or a time (ISO 8601).")
    ] = None,
    timestamps: Annotated[bool, typer.Option("-t", "--timestamps", help="Each line with its time.")] = False,
) -> None:
    """Show what a container wrote: its stdout on ours, its stderr on ours; a JSON object a line with --json.

    With --follow it ends with 0 once the container has ended; with 3 if that was the machine's save, as when AWS takes
    the machine back, and says why; with 1 if the machine went.
    """
    from xportal.container import output_lines, read_logs, since_when
    from xportal.portal.staying import check_stays, explained

    when = None if since is None else since_when(since)
    with _opened(ctx, portal) as (opened, engine), explained(opened):
        outputs = read_logs(engine, container, follow=follow, tail=tail, since=when, timestamps=timestamps)
        if ctx.json:
            for line in output_lines(outputs):
                ctx.console.answer_json_line(line)
        else:
            for output in outputs:
                ctx.console.pass_on(output.stream, output.data)
            ctx.console.end_passing()
        if follow:
            check_stays(opened)


def ps(
    ctx: Context,
    portal: Portal,
    all_: Annotated[bool, typer.Option("-a", "--all", help="Stopped ones too.")] = False,
) -> None:
    """List the containers that run."""
    from xportal.container import list_containers
    from xportal.reports import ContainerReport

    with _opened(ctx, portal) as (opened, engine):
        containers = list_containers(engine, stopped=True)
        gpu = opened.status.gpu or "yes"
    shown = [
        ContainerReport(c.name, c.id, c.image, c.status, c.running, c.ports, gpu if c.gpu else None)
        for c in containers
        if all_ or c.running
    ]
    if ctx.json:
        ctx.console.answer_json(shown)
        return
    rows = [(c.name, c.image, c.status, ", ".join(c.ports), c.gpu if c.gpu and c.running else "") for c in shown]
    ctx.console.table(("NAME", "IMAGE", "STATUS", "PORTS", "GPU"), rows)
    if hidden := len(containers) - len(shown):
        ctx.console.say(f"{hidden} stopped: xportal ps {portal} -a")


def start(ctx: Context, portal: Portal, containers: Names) -> None:
    """Start containers that have ended, with the settings that they have."""
    from xportal.container import start_again
    from xportal.reports import StartReport

    def start_one(engine: Engine, name: str) -> Report:
        start_again(engine, name)
        return StartReport(name)

    _each(ctx, portal, containers, start_one)


def restart(ctx: Context, portal: Portal, containers: Names, grace: Grace = None) -> None:
    """Stop containers and start them again."""
    from xportal.container import restart as restart_container
    from xportal.reports import StartReport

    def restart_one(engine: Engine, name: str) -> Report:
        restart_container(engine, name, grace=grace)
        return StartReport(name)

    _each(ctx, portal, containers, restart_one)


def images(ctx: Context, portal: Portal) -> None:
    """List the machine's images. They are on the drive, as the containers are."""
    from xportal.container import list_images

    with _opened(ctx, portal) as (_, engine):
        found = list_images(engine)
    if ctx.json:
        ctx.console.answer_json(found)
        return
    rows = [
        (name, image.id.removeprefix("sha256:")[:12], time_text(image.created), f"{image.size_bytes / 1e6:.1f} MB")
        for image in found
        for name in image.names or ("<none>",)
    ]
    ctx.console.table(("IMAGE", "ID", "CREATED", "SIZE"), rows)


def pull(ctx: Context, portal: Portal, image: Annotated[str, typer.Argument(metavar="IMAGE")]) -> None:
    """Have the machine fetch an image from its registry, without a login there."""
    from xportal.container import pull_image
    from xportal.reports import PullReport

    with _opened(ctx, portal) as (_, engine), ctx.console.waiting(f"pulling {image}"):
        image_id = pull_image(engine, image, ctx.console.update)
    if ctx.json:
        ctx.console.answer_json(PullReport(image, image_id))
    else:
        ctx.console.answer(image)


def stop(
    ctx: Context,
    portal: Portal,
    containers: Names,
    grace: Grace = None,
) -> None:
    """Stop containers: SIGTERM, then SIGKILL."""
    from xportal.container import stop as stop_container
    from xportal.reports import StopReport

    def stop_one(engine: Engine, name: str) -> Report:
        stop_container(engine, name, grace=grace)
        return StopReport(name)

    _each(ctx, portal, containers, stop_one)


def rm(
    ctx: Context,
    portal: Portal,
    containers: Names,
    force: Annotated[bool, typer.Option("-f", "--force", help="Running ones too.")] = False,
    volumes: Annotated[bool, typer.Option("-v", "--volumes", help="With their anonymous volumes.")] = False,
) -> None:
    """Remove containers, and what they wrote to their own layer."""
    from xportal.container import remove
    from xportal.reports import RemoveReport

    def remove_one(engine: Engine, name: str) -> Report:
        remove(engine, name, force=force, volumes=volumes)
        return RemoveReport(name)

    _each(ctx, portal, containers, remove_one)


def push(
    ctx: Context, portal: Portal, image: Annotated[str, typer.Argument(metavar="IMAGE", help="In the Docker here.")]
) -> None:
    """Bring an image from the Docker of this computer to the machine, without the layers it has."""
    from xportal.container import local_docker
    from xportal.container import push as push_image

    with local_docker() as local, _opened(ctx, portal) as (_, engine), ctx.console.waiting(f"pushing {image}"):
        pushed = push_image(engine, local, image, _progress(ctx, image))
    if ctx.json:
        ctx.console.answer_json(pushed)
    elif pushed.sent_layers or pushed.sent_bytes:
        ctx.console.answer(
            f"{image}: sent {pushed.sent_bytes / 1e6:.1f} MB ({pushed.sent_layers} layers), "
            f"spared {pushed.skipped_bytes / 1e6:.1f} MB ({pushed.skipped_layers} layers)"
        )
    else:
        ctx.console.answer(f"{image}: is there already")


def build(
    ctx: Context,
    portal: Portal,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="With a Dockerfile.")],
    tag: Annotated[str | None, typer.Option("-t", "--tag", metavar="NAME", help="The image's name.")] = None,
    file: Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="Another Dockerfile.")] = None,
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME[=VALUE]", help="Without a value: that of our environment."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Every step anew.")] = False,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="STAGE", help="Up to this stage of the Dockerfile.")
    ] = None,
) -> None:
    """Build an image on the machine from a directory here: with BuildKit, if docker here has buildx.

    What FILE.dockerignore names, or else .dockerignore, is not sent. DOCKER_BUILDKIT=0 builds without BuildKit.
    """
    from xportal.container import build as build_image

    with _opened(ctx, portal) as (_, engine):
        built = build_image(
            engine,
            directory,
            ctx.console.say,
            tag=tag,
            file=file,
            build_args=build_arg or (),
            no_cache=no_cache,
            network=network,
            target=target,
        )
    if ctx.json:
        ctx.console.answer_json(built)
    else:
        ctx.console.answer(tag or built.image_id)


def _run_detached(ctx: Context, portal: str, options: RunOptions) -> None:
    from xportal.container import find_early_end
    from xportal.container import run as run_container
    from xportal.reports import RunReport

    with _opened(ctx, portal) as (_, engine):
        started = run_container(engine, options, ctx.console.update)
        status = None if options.remove else find_early_end(engine, started, seconds=1)
    if status is not None:
        ctx.console.warn(f"{started.name} ended at once, with status {status}: xportal logs {portal} {started.name}")
    if ctx.json:
        ctx.console.answer_json(RunReport(started.id, started.name, started.image, status, stdout=None, stderr=None))
    else:
        ctx.console.answer(started.name)


def _run_attached(ctx: Context, portal: str, options: RunOptions) -> None:
    from xportal.container import STDERR, STDOUT, run_attached
    from xportal.portal.staying import check_stays, explained
    from xportal.reports import RunReport

    sink = _Sink(ctx)
    with _opened(ctx, portal) as (opened, engine), explained(opened):
        following: Following = run_attached(engine, options, ctx.console.update)
        try:
            for output in following.outputs(sys.stdin.buffer if options.interactive else None):
                sink.write(output)
            status = following.status()
        except KeyboardInterrupt:
            ctx.console.say(f"it runs on: xportal logs -f {portal} {following.started.name}")
            raise
        finally:
            following.close()
        sink.end()
        if ctx.json:
            started, wrote = following.started, (sink.text(STDOUT), sink.text(STDERR))
            ctx.console.answer_json(RunReport(started.id, started.name, started.image, status, *wrote))
        check_stays(opened)  # else its status is not the end of it
    raise typer.Exit(status)


def _run_on_terminal(ctx: Context, portal: str, options: RunOptions) -> None:
    from xportal.container import create

    _check_terminal()
    with _opened(ctx, portal) as (opened, engine):
        container = create(engine, options, ctx.console.update)
    given = ["--attach", *(["--interactive"] if options.interactive else [])]
    _become(opened, ["docker", "start", *given, container.name])


def _each(ctx: Context, portal: str, names: list[str], act: Callable[[Engine, str], Report]) -> None:
    """Do it to one container after the other; the first that fails ends it."""
    done: list[Report] = []
    with _opened(ctx, portal) as (_, engine):
        for name in names:
            done.append(act(engine, name))
            if not ctx.json:
                ctx.console.answer(name)
    if ctx.json:
        ctx.console.answer_json(done)


@contextmanager
def _opened(ctx: Context, portal: str) -> Iterator[tuple[OpenPortal, Engine]]:
    """The portal's machine and its Docker. Raises PortalNotUp, Refused, MachineLost, DockerFailed."""
    from xportal.portal.access import engine_of, open_portal
    from xportal.portal.up.ready import check_ready

    with open_portal(ctx.aws, portal, ctx.console.update) as opened:
        check_ready(opened.machine, opened.status)
        with engine_of(opened.host, opened.machine, opened.status) as engine:
            yield opened, engine


def _check_terminal() -> None:
    if not sys.stdin.isatty():
        raise UsageError("--tty needs a terminal, and stdin is none", hint="leave -t out; -i alone takes a pipe")


def _become(opened: OpenPortal, argv: list[str]) -> NoReturn:
    """Replace this process by the system's ssh: nothing stands between the terminal and the container."""
    from xportal.remote import ssh_argv

    local.become(ssh_argv(opened.login, argv, tty=True))


class _Sink:
    """Where a command's output goes: our own streams as it comes, or with `--json` into the answer at its end."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._kept: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}

    def write(self, output: Output) -> None:
        """Take what the command wrote."""
        if self._ctx.json:
            self._kept[output.stream] += output.data
        else:
            self._ctx.console.pass_on(output.stream, output.data)

    def end(self) -> None:
        """The command has ended."""
        self._ctx.console.end_passing()

    def text(self, stream: int) -> str:
        """All that it wrote to its stdout or stderr, for the answer."""
        return self._kept[stream].decode(errors="replace")


def _progress(ctx: Context, image: str) -> Callable[[Progress], None]:
    """Tell of a push by the percent on a terminal, in tens elsewhere: each change is a line there."""
    grain = 1 if sys.stderr.isatty() else 25

    def tell(progress: Progress) -> None:
        percent = 100 * progress.done // max(1, progress.total) // grain * grain
        ctx.console.update(f"{progress.step} {image}: {percent}% of {progress.total / 1e6:.0f} MB")

    return tell
