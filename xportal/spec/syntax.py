"""The text of a spec, as YAML or JSON, as a tree in which every value and every key knows its line.

YAML as version 1.2 has it: `no` and `22:22` are text. There are no tags (`!!python/...`), and a value that an alias
repeats counts each time, so that a short file stays small.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from xportal.spec.faults import Fault, Path

MAX_DEPTH = 20
MAX_VALUES = 10_000
_TYPED: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,300}"), int),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)
_JSON = json.JSONDecoder()
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_JSON_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")


@dataclass(frozen=True)
class Scalar:
    """A single value: its text as it is written, and what that is if it is not quoted."""

    text: str
    line: int
    quoted: bool = True

    @property
    def typed(self) -> str | int | float | bool | None:
        """Text, a number, true, false or nothing."""
        return self.text if self.quoted else typed(self.text)


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: list[Node]
    line: int


@dataclass(frozen=True)
class Mapping:
    """Values by key, and the line of each key."""

    items: dict[str, Node]
    line: int
    lines: dict[str, int] = field(default_factory=dict)


Node: TypeAlias = "Scalar | Sequence | Mapping"


class Unreadable(Exception):
    """The text is no YAML, or no JSON: one fault, after which nothing more can be read."""

    def __init__(self, line: int, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.fault = Fault(path, line, message)


def typed(text: str) -> str | int | float | bool | None:
    """What unquoted text means."""
    for pattern, make in _TYPED:
        if pattern.fullmatch(text):
            value: str | int | float | bool | None = make(text)
            return value
    return text


def parse_yaml(text: str) -> tuple[Node, list[Fault]]:
    """The tree, and the keys that are there twice. Raises Unreadable."""
    try:
        return _Yaml(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Unreadable(line, f"this is no YAML: {' '.join(str(error.problem or error.context).split())}") from error
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML does not allow, or cannot be written
        raise Unreadable(_line_of(text, getattr(error, "position", 0)), f"this is no YAML: {_first(error)}") from error


def parse_json(text: str) -> tuple[Node, list[Fault]]:
    """The tree, and the keys that are there twice. Raises Unreadable."""
    return _Json(text).document()


class _Tree:
    """What both have in common: limits, and keys that are there twice."""

    def __init__(self) -> None:
        self.twice: list[Fault] = []
        self.values = 0

    def count(self, line: int, path: Path, values: int = 1) -> None:
        """One more value. Raises Unreadable where no spec has so many, or so deep."""
        self.values += values
        if self.values > MAX_VALUES:
            raise Unreadable(line, f"more than {MAX_VALUES} values are no spec", path)
        if len(path) > MAX_DEPTH:
            raise Unreadable(line, f"values that are nested {MAX_DEPTH} deep are no spec", path[:MAX_DEPTH])

    def put(self, mapping: Mapping, key: str, line: int, value: Node, path: Path) -> None:
        """A key with its value; the first of two counts."""
        if key in mapping.items:
            self.twice.append(Fault((*path, key), line, f"the key is there already, in line {mapping.lines[key]}"))
            return
        mapping.items[key] = value
        mapping.lines[key] = line


class _Yaml(_Tree):
    """A tree from PyYAML's events."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, tuple[Node, int]] = {}

    def document(self) -> tuple[Node, list[Fault]]:
        next(self._events)  # the stream begins
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Mapping({}, 1), []
        node = self._node(next(self._events), ())
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise Unreadable(event.start_mark.line + 1, "a second document begins here: a spec is one")
        return node, self.twice

    def _node(self, event: Any, path: Path) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise Unreadable(line, f"*{event.anchor} has no &{event.anchor} that is whole before it", path)
            node, values = self._anchors[event.anchor]
            self.count(line, path, values)
            return node
        if event.tag is not None:
            raise Unreadable(line, f"{event.tag}: a spec has no tags", path)
        before = self.values
        self.count(line, path)
        node = self._value(event, line, path)
        if event.anchor:
            self._anchors[event.anchor] = node, self.values - before
        return node

    def _value(self, event: Any, line: int, path: Path) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, line, quoted=event.style is not None)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, (*path, len(items))))
            return Sequence(items, line)
        mapping = Mapping({}, line)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key_line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise Unreadable(key_line, "a key must be text", path)
            value = self._node(next(self._events), (*path, event.value))
            self.put(mapping, event.value, key_line, value, path)
        return mapping


class _Json(_Tree):
    """A tree from JSON's text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._at = 0

    def document(self) -> tuple[Node, list[Fault]]:
        self._space()
        node = self._node(())
        self._space()
        if self._at != len(self._text):
            raise self._error("nothing may follow the spec")
        return node, self.twice

    def _node(self, path: Path) -> Node:
        line = _line_of(self._text, self._at)
        self.count(line, path)
        match self._peek():
            case "{":
                return self._mapping(line, path)
            case "[":
                return self._sequence(line, path)
            case '"':
                return Scalar(self._string(), line)
        found = _JSON_WORD.match(self._text, self._at)
        if not found:
            raise self._error("a value must be here")
        self._at = found.end()
        return Scalar(found[0], line, quoted=False)

    def _mapping(self, line: int, path: Path) -> Mapping:
        mapping = Mapping({}, line)
        for _ in self._parts("}"):
            if self._peek() != '"':
                raise self._error("a key in double quotes must be here")
            key_line, key = _line_of(self._text, self._at), self._string()
            self._space()
            if self._peek() != ":":
                raise self._error(f'a colon must follow the key "{key}"')
            self._at += 1
            self._space()
            self.put(mapping, key, key_line, self._node((*path, key)), path)
        return mapping

    def _sequence(self, line: int, path: Path) -> Sequence:
        items: list[Node] = []
        for _ in self._parts("]"):
            items.append(self._node((*path, len(items))))
        return Sequence(items, line)

    def _parts(self, end: str) -> Iterator[None]:
        """Stops before each part of a list or an object, and goes on behind it."""
        self._at += 1
        self._space()
        if self._peek() == end:
            self._at += 1
            return
        while True:
            yield
            self._space()
            if self._peek() not in (",", end):
                raise self._error(f"a comma or {end} must be here")
            self._at += 1
            if self._text[self._at - 1] == end:
                return
            self._space()

    def _string(self) -> str:
        try:
            text, self._at = _JSON.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise Unreadable(error.lineno, f"this is no JSON: {error.msg.lower().removesuffix(' at')}") from error
        return str(text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _space(self) -> None:
        found = _JSON_SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _error(self, what: str) -> Unreadable:
        return Unreadable(_line_of(self._text, self._at), f"this is no JSON: {what}")


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
