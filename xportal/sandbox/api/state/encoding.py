"""Records as JSON and back: the objects of moto's backends and ours, as they refer to each other.

Why not pickle: reading a pickle calls whatever the file names, with the rights of the reader, who is root here. Reading
this calls nothing. It makes empty objects of classes of the emulator's records and fills in their attributes. It is no
schema of our own for each kind of record because most of them are moto's, and it would fall behind with the next moto.

A text is an object with the list `table`. Its entries are everything that can change or is referred to twice: records,
lists, dictionaries, sets. Entry 0 is the whole. Values that are neither text, number, true, false nor null are objects
with one key that names their kind; {"ref": 5} is entry 5. So there is no nesting to run out of.
"""

from __future__ import annotations

import base64
import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from types import MethodType
from typing import Any

from xportal.sandbox.api.state.classes import UnknownKindError, find_class, find_method

_FACTORIES: dict[str, type] = {"dict": dict, "list": list, "set": set, "int": int, "str": str}  # of defaultdicts


def dumps(whole: Any) -> str:
    """The object, with all that it refers to. UnknownKindError names what is no record."""
    writer = _Writer()
    writer.refer(whole)
    table = [writer.entry(found) for found in writer.found]  # grows as its entries refer to others
    return '{"table":[' + ",\n".join(table) + "]}"


def loads(text: str | bytes) -> Any:
    """What `dumps` was given. UnknownKindError for what is no text of `dumps`."""
    try:
        return _Reader(json.loads(text)["table"]).read()
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UnknownKindError(f"not a text of records: {error!r}") from error


class _Writer:
    """Numbers what changes or is referred to; values are written in place.

    It writes text at once, for it runs at each change: a tree of small objects would keep the garbage collector busy.
    """

    def __init__(self) -> None:
        self.found: list[Any] = []  # kept, so that no id is used twice
        self._numbers: dict[int, int] = {}

    def refer(self, value: Any) -> str:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.found)
            self.found.append(value)
        return f'{{"ref":{number}}}'

    def entry(self, value: Any) -> str:
        kind: Any = type(value)
        if kind is dict:
            return f'{{"dict":{self._pairs(value)}}}'
        if kind in (list, set):
            return f'{{"{kind.__name__}":{self._items(value)}}}'
        if kind is OrderedDict:
            return f'{{"ordered":{self._pairs(value)}}}'
        if kind is defaultdict:
            name = value.default_factory and value.default_factory.__name__
            if name and _FACTORIES.get(name) is not value.default_factory:
                raise UnknownKindError(f"no JSON for a dictionary that makes {value.default_factory!r}")
            return f'{{"default":{_plain(name)},"pairs":{self._pairs(value)}}}'
        if not _is_bare(kind):
            raise UnknownKindError(f"no JSON for {_name(kind)}")
        attributes = ",".join([f"{_quoted(name)}:{self._value(item)}" for name, item in vars(value).items()])
        return f'{{"record":{_quoted(_name(kind))},"attributes":{{{attributes}}}}}'

    def _items(self, items: Iterable[Any]) -> str:
        return f"[{','.join([self._value(item) for item in items])}]"

    def _pairs(self, value: dict[Any, Any]) -> str:
        return f"[{','.join([f'[{self._value(key)},{self._value(item)}]' for key, item in value.items()])}]"

    def _value(self, value: Any) -> str:
        kind: Any = type(value)
        if kind in _PLAIN:
            return _PLAIN[kind](value)
        if kind in _IN_PLACE:
            name, write = _IN_PLACE[kind]
            return f'{{"{name}":{_plain(write(value))}}}'
        if kind in (tuple, frozenset):
            return f'{{"{kind.__name__}":{self._items(value)}}}'
        if kind is MethodType:
            find_method(value.__self__, value.__name__)
            return f'{{"method":[{self.refer(value.__self__)},{_quoted(value.__name__)}]}}'
        if issubclass(kind, str) and find_class(kind.__module__, kind.__qualname__):
            return f'{{"text":{_plain([_name(kind), str(value)])}}}'
        return self.refer(value)


_plain: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii
_PLAIN: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    int: int.__repr__,
    float: _plain,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
_IN_PLACE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    datetime: ("time", datetime.isoformat),
    timedelta: ("duration", lambda value: [value.days, value.seconds, value.microseconds]),
    timezone: ("timezone", lambda value: value.utcoffset(None).total_seconds()),
    IPv4Address: ("address", str),
    IPv4Network: ("network", str),
    re.Pattern: ("pattern", lambda value: [value.pattern, value.flags]),
}


class _Reader:
    """First every entry is made, empty; then they are filled, those whose keys must be known at last."""

    def __init__(self, table: list[dict[str, Any]]) -> None:
        self._table = table
        self._made = [_make(entry) for entry in table]

    def read(self) -> Any:
        for entry, made in zip(self._table, self._made, strict=True):
            if "record" in entry:
                vars(made).update({name: self._value(item) for name, item in entry["attributes"].items()})
        for entry, made in zip(self._table, self._made, strict=True):
            if "list" in entry:
                made.extend(self._value(item) for item in entry["list"])
            elif "set" in entry:
                made.update(self._value(item) for item in entry["set"])
            elif "record" not in entry:
                pairs = next(entry[kind] for kind in ("dict", "ordered", "pairs") if kind in entry)
                made.update((self._value(key), self._value(item)) for key, item in pairs)
        return self._made[0]

    def _value(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        [(kind, told)] = value.items()
        if kind == "ref":
            return self._made[told]
        if kind == "method":
            return find_method(self._value(told[0]), told[1])
        if kind in ("tuple", "frozenset"):
            items = (self._value(item) for item in told)
            return tuple(items) if kind == "tuple" else frozenset(items)
        return _FROM_PLACE[kind](told)


_FROM_PLACE: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "time": datetime.fromisoformat,
    "duration": lambda told: timedelta(*told),
    "address": IPv4Address,
    "network": IPv4Network,
    "pattern": lambda told: re.compile(*told),
    "timezone": lambda told: timezone(timedelta(seconds=told)),
    "text": lambda told: _text(*told),
}


def _make(entry: dict[str, Any]) -> Any:
    """An empty object of the entry's kind; of a record nothing is called, not even what sets its defaults."""
    if "record" in entry:
        cls = find_class(*entry["record"].split(":"))
        if not _is_bare(cls):
            raise UnknownKindError(f"{entry['record']} is no class of records")
        return object.__new__(cls)
    if "default" in entry:
        return defaultdict(_FACTORIES[entry["default"]] if entry["default"] else None)
    return {"list": list, "set": set, "dict": dict, "ordered": OrderedDict}[next(iter(entry))]()


def _text(name: str, text: str) -> str:
    cls = find_class(*name.split(":"))
    if not issubclass(cls, str):
        raise UnknownKindError(f"{name} is no text")
    return str.__new__(cls, text)


@cache
def _is_bare(cls: Any) -> bool:
    """Whether an object of this class of records is its attributes, and nothing else."""
    find_class(cls.__module__, cls.__qualname__)
    return bool(cls.__basicsize__ == _Bare.__basicsize__)


class _Bare:
    """What a class is like that inherits from no built-in one and has no slots."""


@cache
def _name(cls: Any) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
