"""`${VAR}` in a spec's values, as Compose has it. Pure: the environment is an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HIDDEN_LENGTH = 6  # shorter values are no secrets, and would be found everywhere
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
MAX_NESTED = 10


class NotExpanded(ValueError):
    """A value whose variables make no sense, or one that must be set is not; the text is a clause."""


def hide(text: str, values: Mapping[str, str]) -> str:
    """Text in which values of the environment are replaced by their names, for whoever reads or keeps it."""
    for name, value in sorted(values.items(), key=lambda one: -len(one[1])):
        if len(value) >= HIDDEN_LENGTH:
            text = text.replace(value, f"${{{name}}}")
    return text


@dataclass
class Expansion:
    """What the values of a spec took from the environment."""

    environ: Mapping[str, str]
    only_read: bool = False  # for the end alone: what is missing in the environment is no fault
    used: dict[str, str] = field(default_factory=dict)  # what was put in, by name
    unset: list[str] = field(default_factory=list)  # names for which nothing was put in

    def expand(self, text: str) -> str:
        """The text with each variable's value. Raises NotExpanded."""
        return self._expand(text, 0, "", 0)[0]

    def _expand(self, text: str, at: int, end: str, nested: int) -> tuple[str, int]:
        """From `at` to `end`, or to the text's end; and where that is."""
        if nested > MAX_NESTED:
            raise NotExpanded("its variables are nested too deep")
        parts: list[str] = []
        while at < len(text):
            if end and text[at] == end:
                return "".join(parts), at
            if text[at] != "$":
                parts.append(text[at])
                at += 1
            elif text.startswith("$$", at):
                parts.append("$")
                at += 2
            else:
                value, at = self._variable(text, at, nested)
                parts.append(value)
        if end:
            raise NotExpanded("a variable's } is missing")
        return "".join(parts), at

    def _variable(self, text: str, at: int, nested: int) -> tuple[str, int]:
        braced = text.startswith("${", at)
        found = _NAME.match(text, at + (2 if braced else 1))
        if not found:
            raise NotExpanded("$ must be followed by a variable's name; $$ is a dollar sign")
        name, at = found[0], found.end()
        if not braced:
            return self._value(name), at
        if text.startswith("}", at):
            return self._value(name), at + 1
        operator = next((known for known in _OPERATORS if text.startswith(known, at)), "")
        if not operator:
            raise NotExpanded(f"{name} must be followed by }}, :-, -, :?, ?, :+ or +")
        word, end = Expansion({}, only_read=True)._expand(text, at + len(operator), "}", nested + 1)
        there = bool(self.environ.get(name)) if operator[0] == ":" else name in self.environ
        if self.only_read or (operator[-1] == "+" and not there):
            return "", end + 1
        if operator[-1] in "-?" and there:
            return self._value(name), end + 1
        if operator[-1] == "?":
            raise NotExpanded(f"{name} is not set: {word or 'the spec needs it'}")
        return self._expand(text, at + len(operator), "}", nested + 1)[0], end + 1

    def _value(self, name: str) -> str:
        if name not in self.environ:
            self.unset.append(name)
            return ""
        value = self.environ[name]
        self.used[name] = value
        return value
