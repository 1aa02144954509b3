"""Commands on portals and drives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli.drives import time_text
from xportal.cli.machine_options import MachineOptions
from xportal.cli.options import Context, with_common_options
from xportal.cli.specs import asked_with_file
from xportal.cli.ssh_config import keep_alias
from xportal.cli.ssh_like import SshLike, split_words
from xportal.errors import LoginRefused, MachineLost, SaveIncomplete, UsageError
from xportal.spec import DEFAULT_PORTAL, DEFAULT_SIZE_GIB, DriveSpec, PortalSpec, UnattendedSpec, check_name

if TYPE_CHECKING:
    from xportal.portal.agent import AgentStatus
    from xportal.reports import AgentReport, DriveLeftReport, PlanReport, PortalReport, UpReport

Portal = Annotated[str, typer.Argument(metavar="PORTAL", help="The portal's name, which is its drive's too.")]
OptionalPortal = Annotated[str | None, typer.Argument(metavar="[PORTAL]", help="One portal; all if left out.")]

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return once AWS has started the snapshot; the rest is a sweep's.")
]

FULL = 0.8  # a drive above this is said
OFFERS_SHOWN = 8


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (up, save, down, status, ssh, sweep):
        panel = "Drives" if command is sweep else "Portals"
        cls = SshLike if command is ssh else None
        app.command(cls=cls, rich_help_panel=panel)(with_common_options(command))


def up(
    ctx: Context,
    portal: Annotated[
        str | None,
        typer.Argument(
            metavar="PORTAL|FILE",
            help=f"The portal's name ({DEFAULT_PORTAL}), which is its drive's too; or a spec's file.",
            show_default=False,
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            "--spec",
            metavar="FILE",
            help="The spec of the portal. Without it: ./PORTAL.yaml, .yml or .json; without PORTAL ./portal.yaml ...",
        ),
    ] = None,
    machine: MachineOptions = MachineOptions(),
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="GIB", help=f"Of a new drive ({DEFAULT_SIZE_GIB}), or to grow to."),
    ] = None,
    drive: Annotated[
        list[str] | None,
        typer.Option(
            "--drive",
            metavar="NAME[:GIB]",
            help="A drive, instead of the one of the portal's name; repeated, the others are at /v2, /v3 ...",
        ),
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(
            "--checkpoint-every",
            metavar="MINUTES",
            help="Take rolling checkpoints, so that later snapshots are quick; a final save removes them; 0: none.",
        ),
    ] = None,
    wait_capacity: Annotated[
        bool | None,
        typer.Option(
            "--wait-capacity/--no-wait-capacity", help="Where there is no machine, or none at --max-price, try again."
        ),
    ] = None,
    on_notice: Annotated[
        str | None,
        typer.Option("--on-notice", metavar="CMD", help="Run on the machine when AWS takes it back, before the save."),
    ] = None,
    idle_minutes: Annotated[
        float | None,
        typer.Option("--idle-minutes", metavar="N", help="Unused for so long it saves and ends itself; 0: never."),
    ] = None,
    checkpoint_on_rebalance: Annotated[
        bool | None,
        typer.Option(
            "--checkpoint-on-rebalance/--no-checkpoint-on-rebalance", help="Save when AWS thinks of taking it back."
        ),
    ] = None,
    ssh_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--ssh-key", metavar="FILE", help="Let a public key of yours in, too: on the drive, so from now on."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it costs.")] = False,
) -> None:
    """Launch a machine with the drive's newest data at /v1, its containers running again. Idempotent.

    Without a spec, drives, machine and settings that no option says are as last time; market, price and image of the
    last command line never are. An option wins over the spec.
    """
    from xportal.portal import up as bring_up
    from xportal.portal.machine_saves import RemoteAgent
    from xportal.portal.own_keys import read_public_keys
    from xportal.portal.remember import recall
    from xportal.portal.retry import pauses

    own_keys = [key for path in ssh_key or () for key in read_public_keys(path)]
    alone = UnattendedSpec(on_notice, idle_minutes, checkpoint_on_rebalance, checkpoint_every)
    drives = tuple(map(_drive_spec, drive or ()))
    asked = asked_with_file(ctx, portal, spec, lambda name: PortalSpec(name, machine.spec(), size, drives, alone))
    wanted = recall(ctx.aws, asked, ctx.console)
    if dry_run:
        from xportal.portal.up.plan import plan_report, prepare

        _show_plan(ctx, plan_report(ctx.aws, wanted, prepare(ctx.aws, wanted)))
        return
    if wait_capacity is None:
        wait_capacity = wanted.follows is not None and wanted.follows.wait_capacity
    waits = pauses() if wait_capacity else None
    with ctx.console.waiting(f"bringing up {wanted.name}"):
        report = bring_up.up(ctx.aws, wanted, ctx.console, RemoteAgent(ctx.aws, ctx.console), waits=waits)
        if own_keys:
            _let_in(ctx, wanted.name, own_keys)
    _show_up(ctx, report)
    keep_alias(ctx, wanted.name)


def _let_in(ctx: Context, portal: str, own_keys: Sequence[str]) -> None:
    """Keys of the user's own, on a machine that is up. Raises RemoteFailed, MachineLost."""
    from xportal.portal.access import open_portal
    from xportal.portal.own_keys import add_public_keys

    with open_portal(ctx.aws, portal, ctx.console.update) as opened:
        add_public_keys(opened.host, own_keys)


def down(
    ctx: Context,
    portal: Portal = DEFAULT_PORTAL,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            help="For all containers after SIGTERM; else each its own --stop-timeout, or 30.",
            min=0,
        ),
    ] = None,
    no_wait: NoWait = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Save nothing: delete what was written since the drive came up.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --discard: do not ask.")] = False,
) -> None:
    """Save everything, end the machine, delete the volume once its snapshot is complete."""
    from xportal.portal import down as bring_down
    from xportal.portal.machine_saves import RemoteAgent
    from xportal.portal.names import check_known

    check_name("portal", portal)
    if discard and (no_wait or grace is not None):
        raise UsageError("--discard saves nothing: it goes with neither --no-wait nor --grace", hint="drop one of them")
    seen = _confirm_discard(ctx, portal) if discard and not yes else None
    agent = RemoteAgent(ctx.aws, ctx.console, grace)
    with ctx.console.waiting(f"bringing down {portal}"):
        report = bring_down.down(ctx.aws, portal, ctx.console, agent, wait=not no_wait, discard=discard, seen=seen)
        if not report.found:
            check_known(ctx.aws, portal)
    if ctx.json:
        ctx.console.answer_json(report)
    elif not report.found:
        ctx.console.answer(f"{portal}: is down")
    else:
        for left in report.drives:
            ctx.console.answer(f"{portal}: {_left_text(left, discard)}, {report.seconds.total:.0f} s")
    _say_billed(ctx)


def save(ctx: Context, portal: Portal = DEFAULT_PORTAL, no_wait: NoWait = False) -> None:
    """Take a checkpoint of the drive as it is at this moment, while the work on it goes on."""
    from xportal.portal import save as checkpoints
    from xportal.portal.machine_saves import RemoteAgent

    agent = RemoteAgent(ctx.aws, ctx.console)
    with ctx.console.waiting(f"saving {portal}"):
        report = checkpoints.save(ctx.aws, portal, ctx.console, agent, wait=not no_wait)
    if ctx.json:
        ctx.console.answer_json(report)
    else:
        for saved in report.drives:
            done = "is on its way" if saved.snapshot.state == "pending" else "is complete"
            ctx.console.answer(f"{portal}: checkpoint {saved.snapshot.id} of {saved.drive} {done}; the work goes on")
    _say_billed(ctx)


def status(ctx: Context, portal: OptionalPortal = None) -> None:
    """Show the portals that are up; of one, also how full its drive is and what runs."""
    from xportal.portal import status as state
    from xportal.portal.names import check_known
    from xportal.portal.reporting import agent_report

    rows = state.list_portal(ctx.aws, portal, ctx.console.warn) if portal else state.list_portals(ctx.aws)
    if portal and not rows:
        check_known(ctx.aws, portal)
    told = _ask_agent(ctx, portal) if portal and rows and rows[0].state == "running" else None
    if told:
        rows[0] = replace(rows[0], agent=agent_report(told))
    if ctx.json:
        ctx.console.answer_json(rows)
    else:
        _show_portals(ctx, portal, rows)
    if told and told.phase != "ready":
        ctx.console.warn(f"the machine is not ready: {_why_not(told)}")
    elif rows and rows[0].agent:
        _show_machine(ctx, rows[0].agent)
    if rows and rows[0].ended and not ctx.json:
        ctx.console.answer(f"  {rows[0].ended}")
    if rows and rows[0].last_time and not ctx.json:
        last = rows[0].last_time
        ctx.console.answer(f"  up {last.portal} is as last time: {last.options or 'without options'}")
        if last.spec:
            ctx.console.answer(
                f"  it follows {last.spec.file} ({last.spec.digest}): xportal spec {last.portal} shows it"
            )
    _say_billed(ctx)


def ssh(
    ctx: Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PORTAL",
            help="Before it: options of ssh's own (-L, -A, -t, -N ...). After it: the command with its options, or "
            "nothing for a shell.",
        ),
    ],
) -> None:
    """Log in to a portal's machine, or run one command there; its exit status is ours."""
    from xportal.portal.access import get_machine
    from xportal.portal.shell import run_ssh

    told = split_words(words)
    # As with ssh itself, one word is a line for the machine's shell; several are a command and its arguments.
    command = ["bash", "-c", *told.command] if len(told.command) == 1 else told.command
    machine = get_machine(ctx.aws, told.portal)
    sys.stdout.flush()
    raise typer.Exit(run_ssh(ctx.aws, machine, command, told.options, ctx.console.update))


def sweep(ctx: Context) -> None:
    """Finish what interrupted commands left: save lone volumes, delete those that are saved, free stale locks."""
    from xportal.portal import down as bring_down
    from xportal.portal.machine_saves import RemoteAgent

    with ctx.console.waiting("sweeping"):
        swept = bring_down.sweep(ctx.aws, ctx.console, RemoteAgent(ctx.aws, ctx.console))
    if ctx.json:
        ctx.console.answer_json(swept.drives)
    else:
        for left in swept.drives:
            saved = f"swept; its newest data is {left.snapshot.id}" if left.snapshot else "swept; it has no data"
            ctx.console.answer(f"{left.drive}: {saved}")
        if not swept.drives and not swept.errors:
            ctx.console.answer("nothing to sweep")
    for error in swept.errors:
        ctx.console.error(error)
    if swept.errors:
        raise SaveIncomplete(f"{len(swept.errors)} of {swept.looked_at} drives could not be swept")
    _say_billed(ctx)


def _drive_spec(text: str) -> DriveSpec:
    """NAME or NAME:GIB. Raises UsageError."""
    name, colon, size = text.partition(":")
    if colon and not size.isdecimal():
        raise UsageError(f"--drive {text} makes no sense", hint="--drive NAME, or --drive NAME:GIB")
    return DriveSpec(name, int(size) if colon else None)


def _left_text(left: DriveLeftReport, discarded: bool) -> str:
    if discarded:
        back = f"{left.drive} goes on from {left.snapshot.id}" if left.snapshot else f"nothing is left of {left.drive}"
        return f"nothing was saved; {back}"
    if left.snapshot is None:
        return f"nothing of {left.drive} was there to save"
    if left.snapshot.state == "pending":
        return f"{left.snapshot.id} of {left.drive} is on its way, and xportal sweep does the rest"
    return f"{left.drive} is saved as {left.snapshot.id} ({left.snapshot.size_gib} GiB), nothing runs"


def _confirm_discard(ctx: Context, portal: str) -> dict[str, frozenset[str]]:
    """Ask on a terminal. Returns what was there then of each drive, which is what the answer is about.

    Raises UsageError where nobody can answer, typer.Abort on a no.
    """
    from xportal.drive.observe import observe
    from xportal.portal import status as state
    from xportal.portal.find import find_drives

    drives = find_drives(ctx.aws, portal)
    seen = {drive: observe(ctx.aws, drive).there() for drive in drives}
    histories = [state.list_copies(ctx.aws, drive) for drive in drives]
    awake = [history for history in histories if history and history[0].kind == "volume"]
    if not awake:
        return seen
    for newest, *older in awake:
        back = f"{older[0].kind} {older[0].id} of {time_text(older[0].made)} is" if older else "nothing of the drive is"
        ctx.console.say(f"{newest.id} is deleted without being saved; {back} what is left")
    if not sys.stdin.isatty():
        raise UsageError("--discard asks before it deletes, and nobody can answer here", hint="--yes says it at once")
    typer.confirm("Delete it?", abort=True, err=True)
    return seen


def _show_plan(ctx: Context, plan: PlanReport) -> None:
    from xportal.machine.offers import surplus_text
    from xportal.portal.prices import volume_cost

    if ctx.json:
        ctx.console.answer_json(plan)
        return
    if plan.machine:
        ctx.console.answer(f"{plan.portal}: is up already on {plan.machine.id}; nothing would be done")
        return
    for drive in plan.drives:
        source = f"from {drive.source}" if drive.source else "new and blank"
        ctx.console.answer(
            f"{plan.portal}: drive {drive.name} of {drive.size_gib} GiB at {drive.mount}, {source}, "
            f"generation {drive.generation}"
        )
    for number, offer in enumerate(plan.offers[:OFFERS_SHOWN], start=1):
        ctx.console.answer(f"  {number}. {offer.type} in {offer.zone}, {_price(offer.price)}")
    if len(plan.offers) > OFFERS_SHOWN:
        ctx.console.answer(f"  and {len(plan.offers) - OFFERS_SHOWN} more")
    price = plan.offers[0].price
    size = sum(drive.size_gib for drive in plan.drives)
    if plan.containers:
        ctx.console.answer(f"  containers of the spec: {', '.join(plan.containers)}")
    machine = "the on-demand price" if price is None else f"${price:.4g}"
    ctx.console.answer(f"it would cost {machine} an hour, and {volume_cost(size)} for {size} GiB of drives")
    if plan.offers[0].surplus:
        ctx.console.answer(surplus_text(plan.offers[0].type, plan.offers[0].surplus))
    if plan.quota and plan.quota.problem:
        ctx.console.warn(plan.quota.problem)


def _show_up(ctx: Context, report: UpReport) -> None:
    from xportal.portal.prices import machine_text, volume_text

    machine = report.machine
    if ctx.json:
        ctx.console.answer_json(report)
    else:
        gpu = f"with {report.agent.gpu}" if report.agent.gpu else "without a GPU"
        where = f"{machine.id}, {machine.type} in {machine.zone}"
        ctx.console.answer(f"{report.portal}: up on {where}, {gpu}, {report.seconds.total:.0f} s")
        if report.spec and (alone := [one.name for one in report.spec.containers if one.action == "left alone"]):
            ctx.console.answer(f"  {', '.join(alone)}: as {report.spec.file} defines it, left alone")
    _show_machine(ctx, report.agent)
    billed = machine_text(machine.id, machine.type, machine.spot, report.price)
    ctx.console.billed([billed, *(volume_text(d.volume, d.size_gib) for d in report.drives)])


def _ask_agent(ctx: Context, portal: str) -> AgentStatus | None:
    """What the agent on a portal's machine says; None, with a warning, if it cannot be asked."""
    from xportal.portal.status import machine_status

    try:
        return machine_status(ctx.aws, portal, ctx.console)
    except (MachineLost, LoginRefused) as error:
        ctx.console.warn(error.message)
    return None


def _show_portals(ctx: Context, asked: str | None, portals: Sequence[PortalReport]) -> None:
    """Those that have a machine, as a table."""
    lines = []
    for p in portals:
        if p.machine:
            state = f"{p.state}, {p.agent.phase}" if p.agent and p.agent.phase != "ready" else p.state
            lines.append((p.portal, p.machine, state, p.type or "", p.zone or "", p.address or "", _price(p.price)))
    if lines:
        ctx.console.table(("PORTAL", "MACHINE", "STATE", "TYPE", "ZONE", "ADDRESS", "PRICE"), lines)
    else:
        ctx.console.say(f"portal {asked} is down" if asked else "no portal is up")


def _why_not(told: AgentStatus) -> str:
    """Why a machine is not ready, as a clause."""
    from xportal.portal.up.ready import why_leaving

    return why_leaving(told) if told.phase in ("saving", "saved") else told.error or told.phase


def _show_machine(ctx: Context, agent: AgentReport) -> None:
    """What the agent of a machine that is ready says, as far as `--json` does not."""
    if not ctx.json:
        for drive in agent.drives:
            ctx.console.answer(f"  drive {drive.name} at {drive.mount}: {drive.used_fraction:.0%} used")
        for container in agent.containers:
            note = f" ({container.note})" if container.note else ""
            ctx.console.answer(f"  {container.name}: {'running' if container.running else 'stopped'}{note}")
        for text in _by_itself(agent):
            ctx.console.answer(f"  {text}")
    for drive in agent.drives:
        if drive.used_fraction > FULL:
            ctx.console.warn(f"drive {drive.name} is {drive.used_fraction:.0%} full; up --size grows it")
    for warning in [text for container in agent.containers for text in container.warnings]:
        ctx.console.warn(warning)


def _by_itself(agent: AgentReport) -> list[str]:
    """What the machine does by itself, as it is set on the drive: for all machines until another `up` sets it."""
    alone = agent.settings
    if alone is None:
        return []
    return [
        text
        for text, is_set in (
            (
                f"unused for {alone.idle_minutes or 0:g} minutes it saves and ends itself (--idle-minutes)",
                alone.idle_minutes,
            ),
            (f"a checkpoint every {alone.checkpoint_minutes or 0:g} minutes", alone.checkpoint_minutes),
            ("a checkpoint when AWS may soon take it back", alone.checkpoint_on_rebalance),
            (f"at a notice it runs: {alone.on_notice}", alone.on_notice),
        )
        if is_set
    ]


def _say_billed(ctx: Context) -> None:
    from xportal.portal.prices import billed

    ctx.console.billed(billed(ctx.aws))


def _price(price: float | None) -> str:
    return "on demand" if price is None else f"spot ${price:.4g}/h"
