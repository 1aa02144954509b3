"""Commands that bring a port of a portal's machine to this computer."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from xportal.cli.options import Context, with_common_options
from xportal.errors import UsageError

if TYPE_CHECKING:
    from xportal.aws.records import Instance
    from xportal.portal.tunnel import Leg

Portal = Annotated[str, typer.Argument(metavar="PORTAL", help="The portal whose machine it is.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (forward, notebook):
        app.command(rich_help_panel="Portals")(with_common_options(command))


def forward(
    ctx: Context,
    portal: Portal,
    ports: Annotated[
        list[str], typer.Argument(metavar="PORT[:PORT]...", help="Of this computer, then of the machine; one for both.")
    ],
) -> None:
    """Forward ports of this computer's loopback to the machine's, until Ctrl-C, through interruptions.

    When AWS takes the machine back it waits for the portal's next machine and goes on with that. It ends when somebody
    ends the portal. It launches nothing.
    """
    from xportal.portal.tunnel import keep_open
    from xportal.reports import ForwardReport, PortReport

    legs = [_leg(text) for text in ports]
    if len({leg.port for leg in legs}) < len(legs):
        raise UsageError("a port of this computer leads to one place alone", hint="xportal forward --help")

    def told(machine: Instance, open_: Sequence[Leg]) -> None:
        if ctx.json:
            pairs = tuple(PortReport(leg.port, leg.to_port) for leg in open_)
            ctx.console.answer_json_line(ForwardReport(portal, machine.id, pairs))
        else:
            for leg in open_:
                ctx.console.answer(f"localhost:{leg.port} leads to port {leg.to_port} of {machine.id}")
            sys.stdout.flush()

    ended = keep_open(ctx.aws, portal, lambda _: legs, told, ctx.console)
    ctx.console.say(f"{portal}: {ended}")


def notebook(
    ctx: Context,
    portal: Portal,
    container: Annotated[
        str | None,
        typer.Option("--container", metavar="NAME", help="The one whose server it is, if there are several."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", help="Of this computer; else the server's own, or a free one.", min=1),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Open the portal's Jupyter server in the browser, in whatever container it runs, or on the machine itself.

    It finds the port and the token, forwards the port until Ctrl-C, and goes on with the next machine after an
    interruption, at the same address.
    """
    from xportal.portal.notebook import Notebook
    from xportal.portal.tunnel import keep_open
    from xportal.reports import NotebookReport

    book, shown = Notebook(ctx.aws, container, port, ctx.console), ""

    def told(machine: Instance, _: Sequence[Leg]) -> None:
        nonlocal shown
        if not book.answers():
            ctx.console.warn("it does not answer; a server in a container must be started with --ip=0.0.0.0")
        if shown and shown != book.url:
            ctx.console.warn("the server has another token now; with JUPYTER_TOKEN set it would have kept it")
        if ctx.json:
            server = book.server.container if book.server else None
            ctx.console.answer_json_line(NotebookReport(portal, machine.id, server, book.url))
        elif shown == book.url:
            ctx.console.say(f"{machine.id} has the notebook now: the page goes on")
        else:
            ctx.console.answer(book.url)
            sys.stdout.flush()
        if browser and shown != book.url and _has_browser(os.environ, sys.platform):
            webbrowser.open(book.url)
        shown = book.url

    ended = keep_open(ctx.aws, portal, book.legs_on, told, ctx.console)
    ctx.console.say(f"{portal}: {ended}")


def _has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Whether one opens in a window: one in this terminal would be in the way."""
    return platform in ("darwin", "win32") or any(environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _leg(text: str) -> Leg:
    """PORT or PORT:PORT. Raises UsageError."""
    from xportal.portal.tunnel import Leg

    here, colon, there = text.partition(":")
    numbers = [int(word) for word in (here, there if colon else here) if word.isascii() and word.isdigit()]
    if len(numbers) != 2 or not all(0 < number < 65536 for number in numbers):
        raise UsageError(f"{text!r} is no port", hint="PORT, or PORT:PORT for another one here than on the machine")
    return Leg(numbers[0], "localhost", numbers[1])
