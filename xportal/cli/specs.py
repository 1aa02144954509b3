"""The spec's file: which one a command goes by, and the commands about it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from xportal import local
from xportal.cli.options import Context, with_common_options
from xportal.errors import UsageError
from xportal.spec import PortalSpec
from xportal.spec.finding import ENDINGS, STEM, find_file, is_file, portal_name

File = Annotated[str | None, typer.Argument(metavar="FILE", help="The spec's file (./portal.yaml).")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (init, check, schema, spec):
        app.command(rich_help_panel="Specs")(with_common_options(command))


def asked_with_file(ctx: Context, word: str | None, given: str | None, ask: Callable[[str], PortalSpec]) -> PortalSpec:
    """What a command line asks for, `ask` of the portal's name, over the spec's file that it names or finds.

    `word` is a portal or a file, `given` a file. Raises UsageError, SpecInvalid with all that is wrong with the file.
    """
    if word is not None and is_file(word) and given is not None:
        raise UsageError(f"{word} and --spec {given} are both files", hint="a portal's name before --spec")
    path = find_file(word) if given is None else Path(given)
    if path is None:
        return ask(portal_name(word, None, None))
    from xportal.spec.merging import merged
    from xportal.spec.reading import read_file

    file = read_file(path)
    asked, beaten = merged(ask(portal_name(word, path, file.name)), file)
    ctx.console.say(f"{path} is the spec of portal {asked.name}")
    for warning in file.warnings:
        ctx.console.warn(warning)
    if file.name not in (None, asked.name):
        beaten = ["name", *beaten]
    if beaten:
        ctx.console.say(f"the command line wins over {path.name}: {', '.join(beaten)}")
    return asked


def init(ctx: Context, file: File = None) -> None:
    """Write an example of a spec that explains each key; a file that is there already stays as it is."""
    from xportal.reports import InitReport

    path = Path(file or f"{STEM}{ENDINGS[0]}")
    if path.suffix == ".json":
        raise UsageError(f"{path}: the example explains itself in comments, which JSON has not", hint="a .yaml file")
    text = example()
    with local.files("the example is not written"):
        try:
            with path.open("x") as written:
                written.write(text)
        except FileExistsError as error:
            raise UsageError(f"{path} is there already", hint=f"xportal init OTHER.yaml, or rm {path}") from error
    if ctx.json:
        ctx.console.answer_json(InitReport(str(path)))
    else:
        ctx.console.answer(str(path))


def example() -> str:
    """The annotated example, which is in the package."""
    return Path(__file__).parents[1].joinpath("spec", "example.yaml").read_text()


def check(ctx: Context, file: File = None) -> None:
    """Read a spec's file and tell all that is wrong with it, without a call to AWS."""
    from xportal.reports import CheckReport
    from xportal.spec.reading import read_file

    path = Path(file) if file else find_file(None)
    if path is None:
        raise UsageError(f"there is no {STEM}{ENDINGS[0]} here", hint="xportal check FILE; xportal init writes one")
    found = read_file(path)
    name = portal_name(None, path, found.name)
    PortalSpec(name, found.machine, drives=found.drives, alone=found.alone)
    report = CheckReport(
        file=str(path),
        digest=found.follows.digest,
        portal=name,
        drives=tuple(drive.name for drive in found.drives),
        containers=tuple(container.name for container in found.containers),
        warnings=found.warnings,
    )
    for warning in found.warnings:
        ctx.console.warn(warning)
    if ctx.json:
        ctx.console.answer_json(report)
    else:
        drives, containers = ", ".join(report.drives), ", ".join(report.containers)
        parts = [f"drives {drives}" if drives else "", f"containers {containers}" if containers else ""]
        ctx.console.answer("; ".join([f"{path}: is right: portal {name}", *filter(None, parts)]))


def schema(ctx: Context) -> None:
    """Print JSON Schema of specs, for editors."""
    from xportal.spec.schema import json_schema_text

    for line in json_schema_text().splitlines():
        ctx.console.answer(line)


def spec(ctx: Context, portal: Annotated[str, typer.Argument(metavar="PORTAL", help="It must be up.")]) -> None:
    """Print the spec's file with which a portal was last brought up, as it is kept on its drive."""
    from xportal.portal.kept import get_kept_spec

    kept = get_kept_spec(ctx.aws, portal, ctx.console.update)
    if ctx.json:
        ctx.console.answer_json(kept)
        return
    ctx.console.say(f"{kept.file} ({kept.digest}): xportal spec {shlex.quote(portal)} > FILE writes it to a file")
    for line in kept.text.splitlines():
        ctx.console.answer(line)
