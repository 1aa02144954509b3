"""The commands for when nobody watches: `watch`, `rehearse`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli.machine_options import MachineOptions
from xportal.cli.options import Context, with_common_options
from xportal.errors import SaveIncomplete
from xportal.spec import DEFAULT_PORTAL, PortalSpec

if TYPE_CHECKING:
    from xportal.portal.endings import Ends
    from xportal.reports import RehearsalReport, WatchReport


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (watch, rehearse):
        app.command(rich_help_panel="Portals")(with_common_options(command))


@dataclass(frozen=True)
class NextMachineOptions(MachineOptions):
    """Which machine comes after one that AWS took."""

    max_price: Annotated[
        float | None,
        typer.Option("--max-price", metavar="USD", help="Save and end it when its offer costs more an hour."),
    ] = None


def watch(
    ctx: Context,
    portal: Annotated[str, typer.Argument(metavar="PORTAL")],
    machine: NextMachineOptions = NextMachineOptions(),
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="USD",
            help="Save and end it when its machines, at launch prices and without drives, have cost so much.",
        ),
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

    It ends when somebody ends the portal; and it saves and ends it at a limit,
    or when an idle machine has shut itself down. Ctrl-C ends the watch alone.
    If the last up had a spec, the watch keeps its limits, market and types; options win.
    Without options on the machine, the next has its memory and GPUs at least.
    It must begin within an hour of the last machine's end: AWS tells of it no longer.
    """
    from xportal.portal.machine_saves import RemoteAgent
    from xportal.portal.remember import carry_on, find_last_time
    from xportal.portal.up import up
    from xportal.reports import ServiceReport
    from xportal.watch import service
    from xportal.watch.following import followed, limits_text
    from xportal.watch.step import Limits
    from xportal.watch.watch import Watch

    own, asked = Limits(budget, max_hours), PortalSpec(portal, machine.spec()).machine
    spec, limits = followed(portal, asked, own, find_last_time(ctx.aws, portal, ctx.console.warn))
    if spec.follows:
        ctx.console.say(
            f"the watch follows {spec.follows} of the last up, and its own options; it ends {limits_text(limits)}"
        )
    agent = RemoteAgent(ctx.aws, ctx.console)

    def bring_up(wanted: PortalSpec, ends: Ends) -> None:
        up(ctx.aws, carry_on(ctx.aws, wanted, ctx.console), ctx.console, agent, ends=ends)

    watching = Watch(ctx.aws, spec, limits, ctx.console, agent, bring_up)
    if install:
        watching.check()
        profile = ctx.profile or os.environ.get("AWS_PROFILE") or "default"
        words = [word for word in sys.argv[1:] if word != "--install"]
        name = service.install(portal, profile, ctx.aws.region, words)
        if ctx.json:
            ctx.console.answer_json(ServiceReport(portal, name))
        else:
            ctx.console.answer(f"{name} watches over {portal}; journalctl --user -fu {name} shows its story")
        ctx.console.say(
            f"it ends with your last session unless you type: loginctl enable-linger; to end it: {_end(name)}"
        )
        return
    with ctx.console.waiting(f"watching over {portal}"):
        report = watching.run()
    _show(ctx, report)


def _end(name: str) -> str:
    return f"systemctl --user disable --now {name}"


def _show(ctx: Context, report: WatchReport) -> None:
    if ctx.json:
        ctx.console.answer_json(report)
        return
    times = f"{report.interruptions} interruption{'' if report.interruptions == 1 else 's'}"
    cost = f"{times}, {report.hours:.1f} h, ${report.dollars:.2f}"
    ctx.console.answer(f"{report.portal}: {report.why}; {cost}")
    for left in report.saved.drives if report.saved else ():
        if left.snapshot:
            ctx.console.answer(f"{report.portal}: {left.drive} is saved as {left.snapshot.id}")


def rehearse(ctx: Context, portal: Annotated[str, typer.Argument(metavar="PORTAL")] = DEFAULT_PORTAL) -> None:
    """Save as when AWS takes the machine back, timed against the two minutes; the machine stays, all comes back.

    Containers end and are started again, shells in the drive are ended, the snapshot is a checkpoint: on any machine,
    with your data and your programs.
    """
    from xportal.portal.rehearse import rehearse as run

    with ctx.console.waiting(f"rehearsing the end of {portal}"):
        report = run(ctx.aws, portal, ctx.console)
    if ctx.json:
        ctx.console.answer_json(report)
    else:
        _show_rehearsal(ctx, report)
    if not report.in_time:
        raise SaveIncomplete(
            f"the save took {report.took:.0f} s, and AWS gives {report.limit:.0f}",
            hint="fewer bytes in containers' layers, a shorter --on-notice, programs that end on SIGTERM",
        )


def _show_rehearsal(ctx: Context, report: RehearsalReport) -> None:
    rows, at = [], 0.0
    for step, seconds in report.steps.items():
        at += seconds
        rows.append((step, f"{seconds:.1f}", f"{at:.1f}"))
    ctx.console.table(("STEP", "SECONDS", "AT"), rows)
    for left in report.deferred:
        ctx.console.warn(f"{left.container} is not committed at the end: {left.reason}")
    for who in report.killed:
        ctx.console.say(f"ended, for the drive to be unmounted: {who}")
    taken = f"AWS has checkpoint {', '.join(report.snapshots.values())}"
    saved = taken if report.snapshots else "the drive is unmounted, its snapshot left to the next up"
    ctx.console.answer(
        f"{report.portal}: {saved} after {report.took:.1f} s of {report.limit:.0f}; "
        f"{report.back:.1f} s later all was back"
    )
