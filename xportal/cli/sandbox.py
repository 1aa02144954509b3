"""Commands on the sandbox: the cloud on this computer."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli import faults
from xportal.cli.emulator import get_control
from xportal.cli.options import SANDBOX_PROFILE, Context, with_common_options
from xportal.errors import UsageError

if TYPE_CHECKING:
    from xportal.reports import Report

MIB = 1024**2

app = typer.Typer(
    help="A cloud on this computer: the same API, real machines and disks, no account.", no_args_is_help=True
)


def start(
    ctx: Context,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1024, max=65535, help="Of the API, on 127.0.0.1. [default: the last one, or 5577]"),
    ] = None,
) -> None:
    """Start it, building its machine image the first time. Idempotent."""
    control = get_control()
    with ctx.console.waiting("starting the sandbox"):
        told = control.start(port=port, say=ctx.console.say)
    _answer(ctx, told, f"the sandbox answers at {told.endpoint_url}; try: xportal --sandbox up")


def stop(ctx: Context) -> None:
    """Power its machines off and stop it; drives and everything else are kept."""
    with ctx.console.waiting("stopping the sandbox"):
        told = get_control().stop(say=ctx.console.say)
    _answer(ctx, told, "stopped; xportal sandbox start goes on with everything")


def status(ctx: Context) -> None:
    """Say where it answers, and what it holds."""
    told = get_control().status()
    if ctx.json:
        ctx.console.answer_json(told)
        return
    machines = [f"{m.id} {m.state}" for m in told.machines]
    drives = [f"{d.drive}: {d.id} {d.state} {d.size_gib} GiB" for d in told.drives]
    if not told.running:
        machines = drives = ["kept, and shown when it runs"]
    facts = {
        "state": "running" if told.running else "stopped: xportal sandbox start",
        "endpoint": told.endpoint_url,
        "region": told.region,
        "profile": told.profile,
        "home": told.home,
        "machines": "; ".join(machines) or "none",
        "drives": "; ".join(drives) or "none",
        "faults": "; ".join(faults.describe(fault) for fault in told.faults) or "none",
    }
    for name, value in facts.items():
        ctx.console.answer(f"{name:<9} {value}")


def reset(ctx: Context) -> None:
    """Stop it and delete everything in it."""
    told = get_control().reset(say=ctx.console.say)
    _answer(ctx, told, "the sandbox is gone, with everything in it")


def interrupt(
    ctx: Context,
    portal: Annotated[str, typer.Argument(metavar="PORTAL")],
    notice_seconds: Annotated[float, typer.Option("--notice-seconds", min=0, help="From notice to power off.")] = 120.0,
    no_notice: Annotated[bool, typer.Option("--no-notice", help="Cut the power at once, without a notice.")] = False,
) -> None:
    """Take a portal's spot machine back, as AWS does: notice, two minutes, power off."""
    from xportal.portal.access import get_machine

    machine = get_machine(replace(ctx, profile=SANDBOX_PROFILE).aws, portal)
    told = get_control().interrupt(machine.id, notice_seconds=0 if no_notice else notice_seconds, notice=not no_notice)
    _answer(ctx, told, f"{machine.id} {'has lost its power' if no_notice else 'got its notice'}")


def set_(
    ctx: Context,
    snapshot_rate: Annotated[
        float | None,
        typer.Option("--snapshot-rate", min=0, metavar="MIB_S", help="A snapshot is pending for as long as the bytes "
                     "that changed since the last one take at this rate, in addition; 0: no limit."),
    ] = None,
    snapshot_seconds: Annotated[
        float | None, typer.Option("--snapshot-seconds", min=0, metavar="S", help="Every snapshot is pending so long.")
    ] = None,
    snapshot_interval: Annotated[
        float | None,
        typer.Option("--snapshot-interval", min=0, metavar="S", help="Two snapshots of a volume must be so far apart; "
                     "AWS wants 15."),
    ] = None,
    stale: Annotated[
        float | None,
        typer.Option("--stale", min=0, metavar="S", help="After a change, lists and tags may be shown for so long as "
                     "they were before it, as AWS does for some seconds."),
    ] = None,
) -> None:  # fmt: skip
    """Say how it behaves, and change that until it stops."""
    changes: dict[str, float | None] = {"snapshot_seconds": snapshot_seconds}
    changes |= {"snapshot_interval_seconds": snapshot_interval, "stale_seconds": stale}
    changes = {name: value for name, value in changes.items() if value is not None}
    if snapshot_rate is not None:
        changes["snapshot_bytes_per_second"] = snapshot_rate * MIB or None
    told = get_control().change_settings(changes)
    if ctx.json:
        ctx.console.answer_json(told)
        return
    for setting in fields(told):
        value = getattr(told, setting.name)
        ctx.console.answer(f"{setting.name:<26} {'no limit' if value is None else value}")


def user(
    ctx: Context,
    policy: Annotated[
        Path | None,
        typer.Argument(metavar="[POLICY]", help="A file with an IAM policy. [default: the least that xportal needs]"),
    ] = None,
) -> None:
    """Give its IAM user a policy, and write that user's AWS profile: to try what a policy allows."""
    least = files("xportal.aws") / "policies" / "user.json"
    try:
        text = (policy or least).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the policy in {policy}: {error}") from error
    told = get_control().give_user(text)
    _answer(ctx, told, f"{told.arn} may do what the policy says; try: xportal --profile {told.profile} up")


def _answer(ctx: Context, report: Report, text: str) -> None:
    if ctx.json:
        ctx.console.answer_json(report)
    else:
        ctx.console.answer(text)


for _command in (start, stop, status, reset, interrupt, user):
    app.command()(with_common_options(_command))
app.command("set")(with_common_options(set_))
app.add_typer(faults.app, name="fault")
