"""Commands on the sandbox's faults: trouble on demand, the same every time."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xportal.cli.emulator import get_control
from xportal.cli.options import SANDBOX_PROFILE, Context, with_common_options

if TYPE_CHECKING:
    from xportal.reports import FaultReport

app = typer.Typer(
    help="Trouble on demand: what AWS and machines do at their worst. A fault is in force until it has hit --count "
    "times, until `fault clear`, or until the sandbox stops. Of the calls (launches, snapshots) that match, --rate are "
    "hit; which ones, --seed decides: the same each time.",
    no_args_is_help=True,
)

Portal = Annotated[str, typer.Argument(metavar="PORTAL")]
Rate = Annotated[float, typer.Option("--rate", min=0, max=1, help="The share that is hit, 0 to 1.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="How many are hit at most; else no end.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides which ones --rate hits.")]
Operations = Annotated[
    list[str] | None,
    typer.Option("--operation", metavar="NAME", help="CreateSnapshot, for one; repeatable; else all of EC2."),
]
Seconds = Annotated[float, typer.Option("--seconds", min=0.001, help="How long.")]


def capacity(
    ctx: Context,
    type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Instance type; else any.")] = None,  # noqa: A002
    zone: Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="Else any.")] = None,
    market: Annotated[str | None, typer.Option("--market", metavar="spot|on-demand", help="Else both.")] = None,
    rate: Rate = 1.0,
    count: Count = None,
    seed: Seed = 0,
) -> None:
    """Launches find no capacity (InsufficientInstanceCapacity)."""
    _add(ctx, "capacity", type=type, zone=zone, market=market, rate=rate, count=count, seed=seed)


def throttle(ctx: Context, operation: Operations = None, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """Calls are refused as too many (RequestLimitExceeded, HTTP 503)."""
    _add(ctx, "throttle", operations=operation, rate=rate, count=count, seed=seed)


def error(ctx: Context, operation: Operations = None, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """Calls fail without effect (InternalError, HTTP 500, and Unavailable, HTTP 503, by turns)."""
    _add(ctx, "error", operations=operation, rate=rate, count=count, seed=seed)


def lost(ctx: Context, operation: Operations = None, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """Calls are done, and the connection is closed without an answer."""
    _add(ctx, "lost", operations=operation, rate=rate, count=count, seed=seed)


def slow(
    ctx: Context,
    seconds: Seconds,
    operation: Operations = None,
    rate: Rate = 1.0,
    count: Count = None,
    seed: Seed = 0,
) -> None:
    """Calls are done, and answered so much later."""
    _add(ctx, "slow", seconds=seconds, operations=operation, rate=rate, count=count, seed=seed)


def snapshot_fail(ctx: Context, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """New snapshots are pending as usual, and end in state error."""
    _add(ctx, "snapshot-fail", rate=rate, count=count, seed=seed)


def snapshot_stuck(ctx: Context, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """New snapshots stay pending, until `fault clear`: then they complete."""
    _add(ctx, "snapshot-stuck", rate=rate, count=count, seed=seed)


def snapshot_slow(ctx: Context, seconds: Seconds, rate: Rate = 1.0, count: Count = None, seed: Seed = 0) -> None:
    """New snapshots are pending for so long."""
    _add(ctx, "snapshot-slow", seconds=seconds, rate=rate, count=count, seed=seed)


def role_gone(ctx: Context) -> None:
    """The machines' role credentials vanish from IMDS, and calls signed with them are refused (AuthFailure)."""
    _add(ctx, "role-gone")


def role_failed(ctx: Context) -> None:
    """IMDS has no credentials for the machines' role, and says AssumeRoleUnauthorizedAccess instead."""
    _add(ctx, "role-failed")


def forbid(
    ctx: Context,
    operation: Annotated[
        list[str], typer.Option("--operation", metavar="NAME", help="RunInstances, for one; repeatable.")
    ],
) -> None:
    """Calls are refused as not permitted (UnauthorizedOperation or AccessDenied), to the user, not to machines."""
    _add(ctx, "forbid", operations=operation)


def quota(
    ctx: Context,
    vcpus: Annotated[float, typer.Option("--vcpus", min=0, help="So many at once; 0 is usual for GPUs at first.")],
    family: Annotated[
        str | None, typer.Option("--family", metavar="standard|g|p", help="The types that it counts; else all.")
    ] = None,
    market: Annotated[str | None, typer.Option("--market", metavar="spot|on-demand", help="Else both.")] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="How long machines that are terminated still count.")
    ] = 0,
) -> None:
    """Launches over a quota of vCPUs are refused (MaxSpotInstanceCountExceeded, VcpuLimitExceeded)."""
    _add(ctx, "quota", vcpus=vcpus, family=family, market=market, seconds=seconds)


def account(
    ctx: Context,
    problem: Annotated[
        str,
        typer.Argument(
            metavar="PROBLEM",
            help="pending-verification, opt-in-required, blocked, free-plan, no-spot-role or unusable-key (for disks).",
        ),
    ],
) -> None:
    """The account is as new, free, blocked or strictly managed accounts of AWS are."""
    _add(ctx, "account", problem=problem)


def disk_full(ctx: Context, portal: Portal) -> None:
    """A file takes all space of the portal's drives, until `fault clear` while a machine has them mounted."""
    _add(ctx, "disk-full", instance_id=_machine(ctx, portal))


def ssh_drop(ctx: Context, portal: Portal) -> None:
    """The portal's ssh connections are cut, and new ones too, until `fault clear`."""
    _add(ctx, "ssh-drop", instance_id=_machine(ctx, portal))


def show(ctx: Context) -> None:
    """The faults in force, and how often each has hit."""
    faults = get_control().list_faults()
    if ctx.json:
        ctx.console.answer_json(faults)
    else:
        ctx.console.table(("FAULT", "HITS", "OPTIONS"), [(f.kind, str(f.hits), _options(f)) for f in faults])


def clear(ctx: Context) -> None:
    """End all faults: stuck snapshots complete, machines are as before."""
    get_control().clear_faults()
    if ctx.json:
        ctx.console.answer_json([])
    else:
        ctx.console.answer("no faults")


def _add(ctx: Context, kind: str, **options: Any) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    fault = get_control().add_fault(kind, given)
    if ctx.json:
        ctx.console.answer_json(fault)
    else:
        ctx.console.answer(f"in force: {describe(fault)}")


def describe(fault: FaultReport) -> str:
    """The kind and what was chosen, in one line."""
    return f"{fault.kind} {_options(fault)}".rstrip()


def _options(fault: FaultReport) -> str:
    """What was chosen, without what is as always."""
    usual = {"rate": 1.0, "seed": 0, "operations": ()}
    options = {name: getattr(fault, name) for name in sorted(f.name for f in fields(fault))}
    chosen = {n: v for n, v in options.items() if n not in ("kind", "hits") and v is not None and v != usual.get(n)}
    return " ".join(f"{n}={','.join(v) if isinstance(v, tuple) else v}" for n, v in chosen.items())


def _machine(ctx: Context, portal: str) -> str:
    from xportal.portal.access import get_machine

    return get_machine(replace(ctx, profile=SANDBOX_PROFILE).aws, portal).id


for _command in (
    capacity, throttle, error, lost, slow, snapshot_fail, snapshot_stuck, snapshot_slow, role_gone, role_failed,
    forbid, quota, account, disk_full, ssh_drop,
):  # fmt: skip
    app.command(_command.__name__.replace("_", "-"))(with_common_options(_command))
app.command("list")(with_common_options(show))
app.command("clear")(with_common_options(clear))
