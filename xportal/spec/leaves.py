"""The values of a spec, each with what it may be: read from scalars, lists and mappings that know how they are written.

The words of containers mean what they mean to Compose. Everything is checked here that Docker, or `xportal run`, would
refuse later.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from xportal import foreign
from xportal.errors import SpecError
from xportal.spec.model import MAX_SIZE_GIB, MIN_SIZE_GIB, SSH_FROM_HERE, check_ssh_from
from xportal.spec.syntax import Scalar, typed

WRONG = "spec"  # the type of the errors that are raised here; their context has `expected`
VARIABLE = {"type": "string", "pattern": r"\$"}  # whatever the value is to be, a variable may stand for it
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")
_TYPE = re.compile(r"[a-z0-9][a-z0-9-]{0,29}\.[a-z0-9-]{1,29}")
_IMAGE_ID = re.compile(r"ami-[0-9a-z]{1,40}")
_BYTES = re.compile(r"(\d+(?:\.\d+)?)([bkmgt]?b?)", re.IGNORECASE)
_PORT = re.compile(
    r"(?:(?P<address>[^:]+):)??(?:(?:(?P<outer>\d+)(?:-(?P<outer_end>\d+))?)?:)?(?P<inner>\d+)(?:-(?P<inner_end>\d+))?"
    r"(?:/(?:tcp|udp|sctp))?"
)
_LOOPBACK = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ON_DRIVE = re.compile(r"/v(?:[1-9]|1[01])(?:/.*)?|/home/[^/]+(?:/.*)?")
_MODE = re.compile(r"(?:ro|rw|z|Z|nocopy)(?:,(?:ro|rw|z|Z|nocopy))*")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(?::\d{1,9})?")
_IPC = re.compile(r"none|private|shareable|host|container:.+")
_ENVIRONMENT_NAME = re.compile(r"[^=\s\x00]+")
_ULIMIT_NAME = re.compile(r"[a-z]+")


def wrong(expected: str) -> NoReturn:
    """Ends the reading of a value."""
    raise PydanticCustomError(WRONG, "expected {expected}", {"expected": expected})


def is_nothing(value: Any) -> bool:
    """A key without a value is as a key that is not there."""
    return isinstance(value, Scalar) and value.typed is None


def read_text(value: Any, expected: str = "text") -> str:
    """Text, or a number as it is written; a variable's value whatever it looks like."""
    if not isinstance(value, Scalar) or value.typed is None or isinstance(value.typed, bool) or "\0" in value.text:
        wrong(expected)
    return value.text


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[Any], str]:
    """A reader of text of one form."""

    def read(value: Any) -> str:
        text = read_text(value, expected)
        return text if pattern.fullmatch(text) else wrong(expected)

    return read


def one_of(*words: str) -> Callable[[Any], str]:
    """A reader of one of some words."""
    expected = f"{', '.join(words[:-1])} or {words[-1]}"

    def read(value: Any) -> str:
        text = read_text(value, expected)
        return text if text in words else wrong(expected)

    return read


def read_number(value: Any, expected: str) -> float:
    """A finite number; not one in quotes, unless a variable has put it there."""
    number = typed(value.text) if isinstance(value, Expanded) else value.typed if isinstance(value, Scalar) else None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        wrong(expected)
    return number


class Expanded(Scalar):
    """A scalar with a variable's value in it: its quotes are no longer asked about."""


def above_zero(what: str) -> Callable[[Any], float]:
    """A reader of a number above 0."""
    expected = f"{what}, above 0"

    def read(value: Any) -> float:
        number = read_number(value, expected)
        return float(number) if 0 < number < math.inf else wrong(expected)

    return read


def read_minutes(value: Any) -> float:
    """0 or more."""
    expected = "a number of minutes, 0 or more"
    number = read_number(value, expected)
    return float(number) if number >= 0 else wrong(expected)


def read_size(value: Any) -> int:
    """The size of a drive."""
    expected = f"a whole number of GiB, {MIN_SIZE_GIB} to {MAX_SIZE_GIB}"
    number = read_number(value, expected)
    return number if isinstance(number, int) and MIN_SIZE_GIB <= number <= MAX_SIZE_GIB else wrong(expected)


def read_flag(value: Any) -> bool:
    """True or false."""
    told = typed(value.text) if isinstance(value, Expanded) else value.typed if isinstance(value, Scalar) else None
    return told if isinstance(told, bool) else wrong("true or false")


def read_name(value: Any) -> str:
    """A portal's or a drive's."""
    expected = "letters, digits, - _ and . (60 at most), a letter or digit first"
    text = read_text(value, expected)
    return text if foreign.name(text) else wrong(expected)


def read_ssh_from(value: Any) -> str:
    """A range of addresses, or the word for this computer's."""
    expected = f"a range of addresses, as 203.0.113.0/24, or {SSH_FROM_HERE}"
    text = read_text(value, expected)
    try:
        check_ssh_from(text)
    except SpecError:
        wrong(expected)
    return text


def read_command(value: Any) -> str:
    """For the machine's shell."""
    text = read_text(value, "a command for the machine's shell")
    return text if len(text) <= 4096 else wrong("a command of 4096 characters at most")


def read_words(value: Any) -> tuple[str, ...]:
    """A list, or a line as a shell splits it."""
    expected = "a line, or a list of words"
    if isinstance(value, list):
        return tuple(read_text(word, "a word") for word in value)
    try:
        return tuple(shlex.split(read_text(value, expected)))
    except ValueError:
        wrong("a line whose quotes are closed, or a list of words")


def read_pairs(value: Any, what: str, *, bare: bool) -> tuple[str, ...]:
    """NAME=VALUE each, from a mapping or a list. `bare`: names alone may stand there, which are left to the reader."""
    expected = f"{what}, or a list of NAME=VALUE"
    if isinstance(value, list):
        pairs = [read_text(one, "NAME=VALUE") for one in value]
    elif isinstance(value, dict):
        pairs = [name if is_nothing(one) else f"{name}={_value_text(name, one)}" for name, one in value.items()]
    else:
        wrong(expected)
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not _ENVIRONMENT_NAME.fullmatch(name):
            wrong("a name before each =, without spaces")
        if not equals and not bare:
            wrong(f"a value for {name}: NAME=VALUE")
    names = [pair.partition("=")[0] for pair in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        wrong(f"each name once, and {twice} is there twice")
    return tuple(pairs)


def _value_text(name: str, value: Any) -> str:
    if not isinstance(value, Scalar) or "\0" in value.text:
        wrong(f"a single value for {name}")
    return value.text


def read_environment(value: Any) -> tuple[str, ...]:
    """A name without a value takes that of this computer's environment."""
    return read_pairs(value, "names with values", bare=True)


def read_labels(value: Any) -> tuple[str, ...]:
    """Of a container; xportal's own are not among them."""
    pairs = read_pairs(value, "names with values", bare=False)
    if any(pair.startswith("xportal.") for pair in pairs):
        wrong("no name that begins with xportal., for those are xportal's own")
    return pairs


def read_port(value: Any) -> str:
    """One port, or a range."""
    expected = "PORT, PORT:CONTAINER_PORT or ranges of these, as in 8888:8888"
    text = read_text(value, expected)
    found = None if text.startswith(":") else _PORT.fullmatch(text)
    if not found:
        wrong(expected)
    address = found["address"]
    if address is not None and not _LOOPBACK.fullmatch(address):
        wrong(f"no address but 127.0.0.1, for ports are bound to the machine's loopback: {text.split(':')[-1]}")
    outer, inner = _range(found["outer"], found["outer_end"]), _range(found["inner"], found["inner_end"])
    if outer and len(outer) != len(inner):
        wrong("as many ports on the machine as in the container")
    if not all(0 < ports[0] <= ports[-1] <= 65535 for ports in (outer, inner) if ports):
        wrong("ports from 1 to 65535, the smaller one first")
    return text


def _range(first: str | None, last: str | None) -> range:
    """As long as somebody may mean: what is not possible is longer than no port."""
    if first is None:
        return range(0)
    return range(int(first[:6]), int((last or first)[:6]) + 1) or range(-1, 0)


def outer_ports(text: str) -> range:
    """The ports of the machine that a port of a container takes; empty where Docker chooses."""
    found = _PORT.fullmatch(text)
    return _range(found["outer"], found["outer_end"]) if found else range(0)


def read_volume(value: Any) -> str:
    """A bind of the drive, a named volume, or a path alone."""
    expected = "SOURCE:PATH[:ro], SOURCE being a directory under /v1 or a volume's name; or PATH alone"
    text = read_text(value, expected)
    source, *rest = text.split(":")
    path = rest[0] if rest else source
    if not source or len(rest) > 2 or not path.startswith("/") or (rest[1:] and not _MODE.fullmatch(rest[1])):
        wrong(expected)
    if rest and not _VOLUME_NAME.fullmatch(source):
        _check_source(source)
    return text


def drive_number(volume: str) -> int | None:
    """The number of the drive that a volume's source is on, if it is on one."""
    found = re.match(r"/v(\d{1,2})(?:/|:)", volume)
    return int(found[1]) if found and ":" in volume else None


def _check_source(source: str) -> None:
    if not source.startswith("/"):
        name = source.lstrip("./~") or "data"
        wrong(f"a directory of the machine, which has none of this computer's: /v1/{name}")
    if not _ON_DRIVE.fullmatch(source) or ".." in source.split("/"):
        wrong("a directory on a drive, for no other outlives the machine: /v1/...")


def read_bytes(value: Any) -> str:
    """As `8g`."""
    expected = "a size, as 8g or 512m"
    text = read_text(value, expected)
    found = _BYTES.fullmatch(text)
    return text if found and float(found[1]) > 0 and len(text) < 20 else wrong(expected)


def read_ulimits(value: Any) -> tuple[str, ...]:
    """A limit for both, or soft and hard."""
    expected = "limits by name, each a whole number or soft and hard"
    if not isinstance(value, dict):
        wrong(expected)
    return tuple(f"{_ulimit_name(name)}={_limits(one, expected)}" for name, one in value.items())


def _ulimit_name(name: str) -> str:
    return name if _ULIMIT_NAME.fullmatch(name) else wrong("names of limits, as nofile or memlock")


def _limits(value: Any, expected: str) -> str:
    if isinstance(value, dict):
        if set(value) != {"soft", "hard"}:
            wrong(expected)
        soft, hard = _limit(value["soft"], expected), _limit(value["hard"], expected)
        return f"{soft}:{hard}" if hard == -1 or -1 < soft <= hard else wrong("a soft limit that is not above the hard")
    return str(_limit(value, expected))


def _limit(value: Any, expected: str) -> int:
    number = read_number(value, expected)
    return number if isinstance(number, int) and -1 <= number < 2**63 else wrong(expected)


def _number(**limits: float) -> dict[str, Any]:
    return {"anyOf": [{"type": "number", **limits}, VARIABLE]}


def _whole(**limits: float) -> dict[str, Any]:
    return {"anyOf": [{"type": "integer", **limits}, VARIABLE]}


def _words(*words: str) -> dict[str, Any]:
    return {"anyOf": [{"enum": list(words)}, VARIABLE]}


_PAIRS = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        {"type": "array", "items": {"type": "string"}},
    ]
}
_TEXT = {"type": ["string", "number"]}
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXT}]}
_LIMIT = {"anyOf": [{"type": "integer", "minimum": -1}, VARIABLE]}
_ULIMITS = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            _LIMIT,
            {
                "type": "object",
                "properties": {"soft": _LIMIT, "hard": _LIMIT},
                "required": ["soft", "hard"],
                "additionalProperties": False,
            },
        ]
    },
}

Text = Annotated[str, BeforeValidator(read_text), WithJsonSchema(_TEXT)]
Name = Annotated[str, BeforeValidator(read_name), WithJsonSchema({"type": "string"})]
Flag = Annotated[bool, BeforeValidator(read_flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, VARIABLE]})]
Gib = Annotated[int, BeforeValidator(read_size), WithJsonSchema(_whole(minimum=MIN_SIZE_GIB, maximum=MAX_SIZE_GIB))]
GpuMemory = Annotated[
    float, BeforeValidator(above_zero("a number of GiB")), WithJsonSchema(_number(exclusiveMinimum=0))
]
Price = Annotated[float, BeforeValidator(above_zero("US dollars an hour")), WithJsonSchema(_number(exclusiveMinimum=0))]
Dollars = Annotated[float, BeforeValidator(above_zero("US dollars")), WithJsonSchema(_number(exclusiveMinimum=0))]
Hours = Annotated[float, BeforeValidator(above_zero("a number of hours")), WithJsonSchema(_number(exclusiveMinimum=0))]
Minutes = Annotated[float, BeforeValidator(read_minutes), WithJsonSchema(_number(minimum=0))]
ShellCommand = Annotated[str, BeforeValidator(read_command), WithJsonSchema({"type": "string"})]
InstanceType = Annotated[
    str, BeforeValidator(matching(_TYPE, "an instance type, as g5.xlarge")), WithJsonSchema({"type": "string"})
]
ImageId = Annotated[
    str, BeforeValidator(matching(_IMAGE_ID, "the id of an image, as ami-0123456789abcdef0")),
    WithJsonSchema({"type": "string"}),
]  # fmt: skip
SshFrom = Annotated[str, BeforeValidator(read_ssh_from), WithJsonSchema({"type": "string"})]
Words = Annotated[tuple[str, ...], BeforeValidator(read_words), WithJsonSchema(_WORDS)]
Environment = Annotated[tuple[str, ...], BeforeValidator(read_environment), WithJsonSchema(_PAIRS)]
Labels = Annotated[tuple[str, ...], BeforeValidator(read_labels), WithJsonSchema(_PAIRS)]
Port = Annotated[str, BeforeValidator(read_port), WithJsonSchema({"type": ["string", "integer"]})]
Volume = Annotated[str, BeforeValidator(read_volume), WithJsonSchema({"type": "string"})]
Bytes = Annotated[str, BeforeValidator(read_bytes), WithJsonSchema(_TEXT)]
Ulimits = Annotated[tuple[str, ...], BeforeValidator(read_ulimits), WithJsonSchema(_ULIMITS)]
Restart = Annotated[
    str, BeforeValidator(matching(_RESTART, "no, always, unless-stopped or on-failure[:TIMES]")),
    WithJsonSchema({"type": "string"}),
]  # fmt: skip
Ipc = Annotated[
    str, BeforeValidator(matching(_IPC, "none, private, shareable, host or container:NAME")),
    WithJsonSchema({"type": "string"}),
]  # fmt: skip
ContainerName = Annotated[
    str,
    BeforeValidator(
        lambda told: (
            told
            if _CONTAINER_NAME.fullmatch(told)
            else wrong("letters, digits, - _ and . (2 to 64), a letter or digit first")
        )
    ),
]
Architecture = Annotated[str, BeforeValidator(one_of("x86_64", "arm64")), WithJsonSchema(_words("x86_64", "arm64"))]
Market = Annotated[str, BeforeValidator(one_of("spot", "on-demand")), WithJsonSchema(_words("spot", "on-demand"))]
Gpus = Annotated[str, BeforeValidator(one_of("all", "none")), WithJsonSchema(_words("all", "none"))]
