"""Commands on drives, which outlive portals' machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli.options import Context, Json, Profile, Region, Sandbox, common_callback, with_common_options
from xportal.errors import UsageError

if TYPE_CHECKING:
    from xportal.reports import CopyReport

app = typer.Typer(help="List the drives and where their newest data is; show, choose or delete the copies of one.")
Drive = Annotated[str, typer.Argument(metavar="DRIVE", help="The drive's name.")]


@dataclass(frozen=True)
class KeepOptions:
    """Which snapshots stay."""

    last: Annotated[int, typer.Option("--keep-last", metavar="N", help="Keep the last N.", min=0)] = 0
    hourly: Annotated[
        int, typer.Option("--keep-hourly", metavar="N", help="Keep the last of each of N hours that have any.", min=0)
    ] = 0
    daily: Annotated[
        int, typer.Option("--keep-daily", metavar="N", help="Keep the last of each of N days that have any.", min=0)
    ] = 0
    weekly: Annotated[
        int, typer.Option("--keep-weekly", metavar="N", help="Keep the last of each of N weeks that have any.", min=0)
    ] = 0


def drives(ctx: Context) -> None:
    """List the drives and where their newest data is; show, choose or delete the copies of one."""
    from xportal.portal import status

    rows = status.list_drives(ctx.aws)
    if ctx.json:
        ctx.console.answer_json(rows)
    elif rows:
        ctx.console.table(
            ("DRIVE", "STATE", "WHERE", "SIZE", "GENERATION", "SNAPSHOTS", "SAVED"),
            [
                (
                    r.drive,
                    r.state,
                    f"{r.where} in {r.zone}" if r.state == "volume" else r.where or "",
                    f"{r.size_gib} GiB",
                    str(r.generation),
                    str(r.snapshots),
                    time_text(r.saved),
                )
                for r in rows
            ],
        )
    else:
        ctx.console.say("no drives")


def history(ctx: Context, drive: Drive) -> None:
    """Show every copy of a drive, newest first: volumes, final saves, checkpoints, snapshots made by hand."""
    from xportal.portal import names, status

    names.check_drive_known(ctx.aws, drive)
    copies = status.list_copies(ctx.aws, drive)
    if ctx.json:
        ctx.console.answer_json(copies)
    else:
        _show_copies(ctx, copies)


def restore(
    ctx: Context,
    drive: Drive,
    copy: Annotated[str, typer.Argument(metavar="COPY", help="A snapshot, or at a fork a volume, of its history.")],
) -> None:
    """Go on from an older copy: it becomes the newest, as a generation of its own. Nothing is copied or deleted."""
    from xportal.portal import names
    from xportal.portal import restore as restoring

    names.check_drive_known(ctx.aws, drive)
    with ctx.console.waiting(f"restoring {drive}"):
        chosen = restoring.restore(ctx.aws, drive, copy, ctx.console)
    if ctx.json:
        ctx.console.answer_json(chosen)
    else:
        ctx.console.answer(f"{drive}: goes on from {chosen.id} at the next xportal up")


def prune(
    ctx: Context,
    drive: Drive,
    keep: KeepOptions = KeepOptions(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the snapshots that no --keep option names; without this command all are kept.

    A snapshot stays if one of the options names it. The newest complete one always stays, and so do those that were
    made by hand. Hours, days and weeks are in UTC.
    """
    from xportal.drive.keep import Keep
    from xportal.portal import names
    from xportal.portal import prune as pruning

    kept = Keep(keep.last, keep.hourly, keep.daily, keep.weekly)
    names.check_drive_known(ctx.aws, drive)
    report = pruning.find_needless(ctx.aws, drive, kept)
    if report.deleted and not dry_run:
        if not yes:
            _ask(ctx, "prune", report.deleted, "Delete them?")
        with ctx.console.waiting(f"pruning {drive}"):
            going = [copy.id for copy in report.deleted]
            report = pruning.prune(ctx.aws, drive, kept, ctx.console, going)
    if ctx.json:
        ctx.console.answer_json(report)
        return
    if dry_run and report.deleted:
        _show_copies(ctx, report.deleted)
    what = "would be deleted" if dry_run else "deleted"
    ctx.console.answer(f"{drive}: {_count(report.deleted)} {what}, {report.kept} kept")


def delete(ctx: Context, drive: Drive, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Give a drive up: delete its volume and all its snapshots. Snapshots that were made by hand stay.

    It cannot be undone, unless a rule of AWS's Recycle Bin keeps deleted snapshots for a while.
    """
    from xportal.portal import delete as deletion
    from xportal.portal import names

    names.check_drive_known(ctx.aws, drive)
    found = deletion.find_copies(ctx.aws, drive)
    if not yes:
        _ask(ctx, "delete", found.deleted, f"Delete all of drive {drive}?")
    with ctx.console.waiting(f"deleting {drive}"):
        report = deletion.delete(ctx.aws, drive, [copy.id for copy in found.deleted], ctx.console)
    if ctx.json:
        ctx.console.answer_json(report)
        return
    ctx.console.answer(f"{drive}: {_count(report.deleted)} deleted")
    for copy in report.left:
        ctx.console.answer(f"{drive}: {copy.id} stays, {copy.kind}: the next xportal up {drive} would go on from it")


def _ask(ctx: Context, command: str, copies: Sequence[CopyReport], question: str) -> None:
    """Name what goes, and ask. Raises UsageError where nobody can answer, typer.Abort on a no."""
    for copy in copies:
        ctx.console.say(f"to be deleted: {copy.id} ({copy.kind} of {time_text(copy.made)}, {copy.size_gib} GiB)")
    if not sys.stdin.isatty():
        raise UsageError(f"{command} asks before it deletes, and nobody can answer here", hint="--yes says it at once")
    typer.confirm(question, abort=True, err=True)


def _count(copies: Sequence[CopyReport]) -> str:
    return "1 copy" if len(copies) == 1 else f"{len(copies)} copies"


def _show_copies(ctx: Context, copies: Sequence[CopyReport]) -> None:
    ctx.console.table(
        ("COPY", "KIND", "STATE", "GENERATION", "SIZE", "MADE", ""),
        [(c.id, c.kind, c.state, str(c.generation), f"{c.size_gib} GiB", time_text(c.made), c.note) for c in copies],
    )


def time_text(moment: object) -> str:
    """A moment in UTC, for a table."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


@app.callback(invoke_without_command=True)
def _list_if_alone(
    typer_context: typer.Context,
    json: Json = False,
    profile: Profile = None,
    region: Region = None,
    sandbox: Sandbox = False,
) -> None:
    common_callback(typer_context, json=json, profile=profile, region=region, sandbox=sandbox)
    if typer_context.invoked_subcommand is None:
        with_common_options(drives)(typer_context, json=False, profile=None, region=None, sandbox=False)


for _command in (history, restore, prune, delete):
    app.command()(with_common_options(_command))
