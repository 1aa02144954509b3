"""ssh's grammar: [ssh's options] PORTAL [the remote command and its options]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typer.core import TyperCommand

from xportal.cli.docker_like import takes_value
from xportal.errors import UsageError

# The options of OpenSSH's ssh(1), as its synopsis has them.
FLAGS = "46AaCfGgKkMNnqsTtVvXxYy"
WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"


class SshLike(TyperCommand):
    """A command whose own options end at the portal, as ssh's end at the destination."""

    def collect_usage_pieces(self, _ctx: Any) -> list[str]:
        """The usage line in the order that people write."""
        return ["[OPTIONS]", "[SSH'S OPTIONS]", "PORTAL", "[CMD...]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set our options apart before they are parsed; ssh's stay before the portal, for `split_words`."""
        ours, others = ours_first(args, takes_value(self, ctx))
        parsed: list[str] = super().parse_args(ctx, [*ours, "--", *others] if others else ours)
        return parsed


@dataclass(frozen=True)
class SshWords:
    """What stands behind `xportal ssh`."""

    options: tuple[str, ...]
    portal: str
    command: tuple[str, ...]


def ours_first(args: Sequence[str], is_valued: Mapping[str, bool]) -> tuple[list[str], list[str]]:
    """Our options, and all other words in their order: ssh's options, the portal, what belongs to the command."""
    ours: list[str] = []
    others: list[str] = []
    rest = list(args)
    while rest and rest[0] != "--" and rest[0].startswith("-") and rest[0] != "-":
        word = rest[0]
        if word.startswith("--") or word in is_valued:
            length = 2 if is_valued.get(word, False) else 1
            ours += rest[:length]
        else:
            length = 2 if _value_is_next(word) else 1
            others += rest[:length]
        del rest[:length]
    return ours, [*others, *rest]


def split_words(words: Sequence[str]) -> SshWords:
    """ssh's options, the portal, the command; a `--` before or after the portal is dropped. Raises UsageError."""
    options: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        length = 2 if _value_is_next(rest[0]) else 1
        options += rest[:length]
        del rest[:length]
    if rest[:1] == ["--"]:
        rest.pop(0)
    if not rest:
        raise UsageError("ssh needs a portal", hint="xportal ssh [ssh's options] PORTAL [CMD]")
    portal, *command = rest
    return SshWords(tuple(options), portal, tuple(command[1:] if command[:1] == ["--"] else command))


def _value_is_next(word: str) -> bool:
    """Whether the value of an option of ssh's is a word of its own. Raises UsageError for what is no option of it."""
    for index, letter in enumerate(word[1:], start=2):
        if letter in WITH_VALUE:
            return not word[index:]
        if letter not in FLAGS:
            raise UsageError(
                f"ssh has no option -{letter}",
                hint="what follows the portal belongs to the command: xportal ssh --help",
            )
    return False
