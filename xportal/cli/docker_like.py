"""Docker's grammar behind a portal's name: PORTAL [options] WHAT [its own command and options]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand


class DockerLike(TyperCommand):
    """A command whose options end at its second argument, as those of `docker run` end at the image."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line in the order that people write."""
        options, portal, *others = super().collect_usage_pieces(ctx)
        return [portal, options, *others]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set options and arguments apart before they are parsed."""
        parsed: list[str] = super().parse_args(ctx, options_first(args, takes_value(self, ctx)))
        return parsed


def takes_value(command: TyperCommand, ctx: Any) -> dict[str, bool]:
    """The options of a command by name, and whether each has a value."""
    return {
        name: not getattr(param, "is_flag", False)
        for param in command.get_params(ctx)
        for name in (*param.opts, *param.secondary_opts)
        if param.param_type_name == "option"
    }


def options_first(args: Sequence[str], takes_value: Mapping[str, bool]) -> list[str]:
    """`args` with every option of ours before `--`, and after it the two arguments and what follows them.

    One `--` is dropped wherever it stands before the command, as `docker run` does.
    """
    options: list[str] = []
    arguments: list[str] = []
    rest = list(args)
    ended = False
    while rest and len(arguments) < 2:
        if rest[0] == "--" and not ended:
            ended = True
            rest.pop(0)
        elif length := 0 if ended else _option_length(rest, takes_value):
            options += rest[:length]
            del rest[:length]
        else:
            arguments.append(rest.pop(0))
    if rest[:1] == ["--"]:
        rest.pop(0)
    return [*options, "--", *arguments, *rest]


def _option_length(rest: Sequence[str], takes_value: Mapping[str, bool]) -> int:
    """How many words the option at the front is: 0 if it is none, 2 if its value is a word of its own."""
    word = rest[0]
    if not word.startswith("-") or word in ("-", "--"):
        return 0
    if word.startswith("--"):
        return 2 if "=" not in word and takes_value.get(word, False) else 1
    for index, letter in enumerate(word[1:], start=2):
        if takes_value.get(f"-{letter}", False):
            return 1 if word[index:] else 2
    return 1
