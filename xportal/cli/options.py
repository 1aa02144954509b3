"""Options that every command has, before or after the command's name, and what a command receives for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from xportal.console import Console
from xportal.errors import UsageError

if TYPE_CHECKING:
    from xportal.aws.session import Aws

SANDBOX_PROFILE = "xportal-sandbox"

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on stdout.")]
Profile = Annotated[str | None, typer.Option("--profile", help="AWS profile.", metavar="NAME")]
Region = Annotated[str | None, typer.Option("--region", help="AWS region.", metavar="NAME")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help=f"Short for --profile {SANDBOX_PROFILE}.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "json": (Json, False),
    "profile": (Profile, None),
    "region": (Region, None),
    "sandbox": (Sandbox, False),
}


@dataclass
class Context:
    """What a command needs besides its own arguments."""

    json: bool = False
    profile: str | None = None
    region: str | None = None
    console: Console = field(default_factory=Console)

    @cached_property
    def aws(self) -> Aws:
        """The account this command talks to; raises NoCredentials, Unreachable or UsageError."""
        from xportal.aws.session import connect

        return connect(profile=self.profile, region=self.region)


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command(ctx: Context, …)` the common options; those on the command win over those before it.

    A parameter whose type is a dataclass is a group: each of its fields is an option of the command.
    """
    resolved = inspect.get_annotations(command, eval_str=True)
    own = [p.replace(annotation=resolved[p.name]) for p in inspect.signature(command).parameters.values()][1:]
    groups: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}

    @wraps(command)
    def wrapper(typer_context: typer.Context, **arguments: Any) -> None:
        common = {name: arguments.pop(name) for name in _COMMON}
        for name, value in (typer_context.obj or {}).items():
            common[name] = common[name] or value
        for name, group in groups.items():
            arguments[name] = group(**{option.name: arguments.pop(option.name) for option in fields(group)})
        command(_context(**common), **arguments)

    parameters = [
        inspect.Parameter("typer_context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(option for p in own for option in _options_of(p)),
        *(_option(name, annotation, default) for name, (annotation, default) in _COMMON.items()),
    ]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _options_of(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    group = parameter.annotation
    if not is_dataclass(group):
        return [_option(parameter.name, group, parameter.default)]
    resolved = get_type_hints(group, include_extras=True)
    return [_option(option.name, resolved[option.name], option.default) for option in fields(group)]


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _show_version(wanted: bool) -> None:
    if wanted:
        Console().answer(f"xportal {version('xportal')}")
        raise typer.Exit


def common_callback(
    typer_context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    json: Json = False,
    profile: Profile = None,
    region: Region = None,
    sandbox: Sandbox = False,
) -> None:
    """The common options before the command's name."""
    given = {"json": json, "profile": profile, "region": region, "sandbox": sandbox}
    typer_context.obj = {**(typer_context.obj or {}), **{name: value for name, value in given.items() if value}}


def _context(json: bool, profile: str | None, region: str | None, sandbox: bool) -> Context:
    if sandbox and profile not in (None, SANDBOX_PROFILE):
        raise UsageError(f"--sandbox and --profile {profile} exclude each other", hint="give one of them")
    return Context(json=json, profile=SANDBOX_PROFILE if sandbox else profile, region=region)
