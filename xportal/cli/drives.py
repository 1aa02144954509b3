"""Commands on drives, which outlive portals' machines."""

from __future__ import annotations

from typing import Annotated

import typer

from xportal.cli.options import Context, Json, Profile, Region, Sandbox, common_callback, with_common_options

app = typer.Typer(help="List the drives and where their newest data is; show or choose the copies of one.")
Drive = Annotated[str, typer.Argument(metavar="DRIVE", help="The drive's name.")]


def drives(ctx: Context) -> None:
    """List the drives and where their newest data is; show or choose the copies of one."""
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
        ctx.console.table(
            ("COPY", "KIND", "STATE", "GENERATION", "SIZE", "MADE", ""),
            [
                (c.id, c.kind, c.state, str(c.generation), f"{c.size_gib} GiB", time_text(c.made), c.note)
                for c in copies
            ],
        )


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


for _command in (history, restore):
    app.command()(with_common_options(_command))
