"""The command `watch`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli.machine_options import (
    Architecture,
    Cpu,
    Gpu,
    ImageId,
    MinGpuMemory,
    OnDemand,
    Types,
    machine_spec,
)
from xportal.cli.options import Context, with_common_options
from xportal.spec import PortalSpec

if TYPE_CHECKING:
    from xportal.portal.watching import WatchReport


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Portals")(with_common_options(watch))


def watch(
    ctx: Context,
    portal: Annotated[str, typer.Argument(metavar="PORTAL")],
    gpu: Gpu = False,
    cpu: Cpu = False,
    type_: Types = None,
    min_gpu_memory: MinGpuMemory = None,
    on_demand: OnDemand = False,
    image_id: ImageId = None,
    architecture: Architecture = None,
    max_price: Annotated[
        float | None,
        typer.Option("--max-price", metavar="USD", help="Save and end it when its offer costs more an hour."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="USD", help="Save and end it when its machines have cost so much."),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option("--max-hours", metavar="HOURS", help="Save and end it when its machines have run so long."),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Watch as a systemd service of this user, and return.")
    ] = False,
) -> None:
    """Bring a portal up again whenever AWS takes its machine, in another zone or on another type if need be.

    It ends when somebody ends the portal, or at a limit, which saves the portal first. Ctrl-C ends the watch alone.
    Without options on the machine, the next is like the last.
    """
    from xportal.portal import service
    from xportal.portal.saving import RemoteAgent
    from xportal.portal.up import up
    from xportal.portal.watching import Limits, Watch

    machine = machine_spec(gpu, cpu, type_, min_gpu_memory, max_price, on_demand, image_id, architecture)
    spec, limits = PortalSpec(portal, machine), Limits(budget, max_hours)
    if install:
        name = service.install(portal, [word for word in sys.argv[1:] if word != "--install"])
        ctx.console.answer(f"{name} watches over {portal}; journalctl --user -fu {name} shows its story")
        ctx.console.say(
            f"it ends with your last session unless you type: loginctl enable-linger; to end it: {_end(name)}"
        )
        return
    agent = RemoteAgent(ctx.aws, ctx.console)

    def bring_up(wanted: PortalSpec) -> None:
        up(ctx.aws, wanted, ctx.console, agent)

    with ctx.console.waiting(f"watching over {portal}"):
        report = Watch(ctx.aws, spec, limits, ctx.console, agent, bring_up).run()
    _show(ctx, report)


def _end(name: str) -> str:
    return f"systemctl --user disable --now {name}"


def _show(ctx: Context, report: WatchReport) -> None:
    if ctx.json:
        ctx.console.answer_json(asdict(report))
        return
    times = f"{report.interruptions} interruption{'' if report.interruptions == 1 else 's'}"
    cost = f"{times}, {report.hours:.1f} h, ${report.dollars:.2f}"
    ctx.console.answer(f"{report.portal}: {report.why}; {cost}")
    for left in report.saved.drives if report.saved else ():
        if left.snapshot:
            ctx.console.answer(f"{report.portal}: {left.drive} is saved as {left.snapshot.id}")
