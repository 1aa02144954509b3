"""The command that makes `ssh xportal-NAME` work, and all programs that use ssh."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xportal.cli.options import Context, with_common_options
from xportal.errors import UsageError, XportalError

if TYPE_CHECKING:
    from xportal.portal.alias import Alias

# Programs open several connections in a row: VS Code, and docker for each request. AWS is asked before the first one.
# A wrong machine cannot come of it: ssh checks the host key.
FRESH_SECONDS = 10.0


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("ssh-config", rich_help_panel="Portals")(with_common_options(ssh_config))


def ssh_config(
    ctx: Context,
    portal: Annotated[str, typer.Argument(metavar="PORTAL", help="The portal's name.")],
    install: Annotated[
        bool, typer.Option("--install", help="Write it, and have ~/.ssh/config include it by one line; asks before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --install: do not ask.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what --install and up wrote for this portal.")
    ] = False,
    refresh: Annotated[
        str | None,
        typer.Option(
            "--refresh", metavar="ALIAS", help="What ssh runs: write down the machine, its key and its host key."
        ),
    ] = None,
) -> None:
    """Print what ~/.ssh/config needs for `ssh xportal-NAME`, or put it there.

    The alias then works for ssh, scp, sftp, rsync, VS Code and whatever else uses ssh. It stays the same from machine
    to machine. Where there is a docker command, it gets a context of the same name. Once the line is in ~/.ssh/config,
    `up` keeps both for each portal.
    """
    from xportal.portal import alias as aliases

    if sum((install, remove, refresh is not None)) > 1:
        raise UsageError("--install, --remove and --refresh exclude each other", hint="give one of them")
    if yes and not install:
        raise UsageError("--yes answers what --install asks", hint=f"xportal ssh-config {portal} --install --yes")
    if refresh is not None:
        _refresh(ctx, portal, refresh)
        return
    alias = aliases.alias_of(aliases.place_of(ctx.aws, portal, ctx.profile))
    if remove:
        _change_context(ctx, alias, "remove")
        was_there = aliases.remove_alias(alias)
        _show(ctx, alias, f"{alias.name} is removed" if was_there else f"there is no {alias.name}")
        return
    _check_known(ctx, portal)
    if install:
        if not aliases.is_installed():
            _ask(ctx, aliases.line_to_add(), yes)
            aliases.add_line()
        aliases.write_alias(alias)
        _change_context(ctx, alias, "keep")
        _show(ctx, alias, f"ssh {alias.name}")
        return
    _show(ctx, alias, alias.text().rstrip("\n"))
    if not aliases.is_installed():
        ctx.console.say(f"nothing was written; xportal ssh-config {portal} --install puts it where ssh finds it")


def _ask(ctx: Context, line: str, yes: bool) -> None:
    """Whether the line may be added. Raises UsageError where nobody can answer, typer.Abort on a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "--install asks before it adds a line to ~/.ssh/config, and nobody can answer here",
            hint=f"--yes says it at once; or put the line at its top yourself: {line}",
        )
    ctx.console.say(f"this line goes to the top of ~/.ssh/config, and nothing else of it changes: {line}")
    typer.confirm("Add it?", abort=True, err=True)


def _check_known(ctx: Context, portal: str) -> None:
    """A name that nobody knows is refused."""
    from xportal.portal.names import check_known

    check_known(ctx.aws, portal)


def _refresh(ctx: Context, portal: str, name: str) -> None:
    """In one line, if there is no way to the machine: it stands among the words of whatever program uses ssh."""
    from xportal.portal.alias import machine_file
    from xportal.remote.ssh_config import still_answers

    if still_answers(machine_file(name), FRESH_SECONDS):
        return
    from xportal.portal.refresh import refresh  # which takes a second to import

    try:
        refresh(ctx.aws, portal, name, ctx.console)
    except XportalError as error:
        ctx.console.say(f"xportal: {'; '.join(filter(None, [error.message, error.hint]))}")
        raise typer.Exit(error.exit_status) from error


def _show(ctx: Context, alias: Alias, text: str) -> None:
    from xportal.portal.alias import is_installed
    from xportal.reports import SshConfigReport

    if ctx.json:
        place = alias.place
        ctx.console.answer_json(
            SshConfigReport(
                portal=place.portal,
                alias=alias.name,
                profile=place.profile,
                region=place.region,
                text=alias.text(),
                written=alias.file.exists(),
                included=is_installed(),
            )
        )
        return
    for line in text.splitlines():
        ctx.console.answer(line)


def keep_alias(ctx: Context, portal: str) -> None:
    """After an `up`: the portal's alias and Docker context, where the user has had xportal's files included; else how
    to get them.

    No `up` fails for it.
    """
    from xportal.portal import alias as aliases

    try:
        if not aliases.is_installed():
            ctx.console.say(f"for plain ssh, scp and VS Code: xportal ssh-config {portal} --install")
            return
        alias = aliases.alias_of(aliases.place_of(ctx.aws, portal, ctx.profile))
        aliases.write_alias(alias)
    except XportalError as error:
        ctx.console.warn(f"no alias for ssh: {error.message}")
        return
    _change_context(ctx, alias, "keep")


def _change_context(ctx: Context, alias: Alias, what: Literal["keep", "remove"]) -> None:
    """The docker command's context of the same name, where there is a docker command. What it refuses is said."""
    from xportal.portal.docker_context import has_docker, keep_context, remove_context

    if not has_docker():
        return
    try:
        (keep_context if what == "keep" else remove_context)(alias)
    except XportalError as error:
        ctx.console.warn(": ".join(filter(None, [error.message, error.hint])))
