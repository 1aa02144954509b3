"""Foreign words: what AWS, a machine or a container tells is a claim until a function here has checked it.

Tags, descriptions and names can be edited by everybody in the account; logs and answers come from machines on which
containers may have become root. There is one function for each kind of use: a name, a file, a number, a time, a key, an
address, an answer's field, a line on the terminal. None of them raises for any text: what is not of the kind is None,
so that a malformed word counts as one that is not there. Only `field` and `items` raise, Malformed, for a whole answer.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import ipaddress
import math
import re
import struct
from collections.abc import Collection
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

T = TypeVar("T")

# A name becomes a key pair's name, tag values, filters' values (where * and ? are wildcards), a host name, file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_WHOLE = re.compile(r"[0-9]{1,256}")  # a tag's value has 256 characters
_HOST_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: [ -~]*)?")
_PASSING = re.compile(r"\x1b\[(?:[0-9;:]{0,32}m|[0-2]?K)")  # colours, erasing in the line
_SEQUENCE_BEGUN = re.compile(r"\x1b(?:\[[0-9;:]{0,32})?\Z")
_TERMINAL_CONTROL = re.compile(
    rf"(?!{_PASSING.pattern})[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_MOST = 1e12  # dollars, hours: what is more is nobody's, and would outgrow a tag when it is written again


class Malformed(ValueError):
    """An answer that is not what it should be; the text says what of it is not."""


def name(told: str) -> str | None:
    """The name of a portal or a drive: letters, digits, `-`, `_` and `.`, at most 60, a letter or digit first."""
    return told if _NAME.fullmatch(told) else None


def file_stem(told: str) -> str | None:
    """What may begin a file's name in a directory of ours, and is no path and no pattern: a launch's id."""
    return told if _FILE_STEM.fullmatch(told) else None


def whole(told: str) -> int | None:
    """A whole number, 0 or more."""
    return int(told) if _WHOLE.fullmatch(told) else None


def amount(told: str) -> float | None:
    """A number of dollars, hours or the like, 0 or more."""
    try:
        number = float(told)
    except ValueError:
        return None
    return number if 0 <= number < _MOST else None


def moment(told: str) -> datetime | None:
    """A time with its zone, as ISO 8601, told in UTC: two of them can be compared and subtracted."""
    try:
        time = datetime.fromisoformat(f"{told[:-1]}+00:00" if told.endswith("Z") else told)  # Python 3.10 knows no Z
        return time.astimezone(timezone.utc) if time.tzinfo else None
    except (ValueError, OverflowError):  # astimezone, of a time at the calendar's ends
        return None


def http_date(told: str) -> datetime | None:
    """The time of an HTTP header, in UTC."""
    try:
        return parsedate_to_datetime(told).astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError, IndexError):  # what email.utils raises, release by release
        return None


def one_of(told: str | None, known: Collection[str]) -> str | None:
    """One of the words that are known."""
    return told if told in known else None


def address(told: str | None) -> str | None:
    """An IP address."""
    try:
        return str(ipaddress.ip_address(told)) if told else None
    except ValueError:
        return None


def host_key(told: str) -> str | None:
    """A public key as OpenSSH writes it, without its comment: a line of known_hosts is made of it."""
    found = _HOST_KEY.fullmatch(told)
    if found is None:
        return None
    kind, text = found.groups()
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    inner = struct.pack(">I", len(kind)) + kind.encode()  # RFC 4253: the key tells its kind once more
    return f"{kind} {text}" if data.startswith(inner) else None


def printable(text: str) -> str:
    """Text for one line on a terminal: control characters, line ends among them, are shown and not obeyed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class TerminalText:
    """What a program far away writes, made fit for the terminal here: lines, colours, and nothing else.

    Line ends, tabs, backspaces, colours (SGR) and erasing in the line pass, for they can only change what follows.
    All other control characters are shown: they could set the window's title, fill the clipboard, hide lines, or have
    the terminal type an answer.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""  # a sequence whose end has not come yet

    def feed(self, data: bytes) -> str:
        """What of it can be shown now."""
        text = self._begun + self._decoder.decode(data)
        cut = _SEQUENCE_BEGUN.search(text)
        self._begun = cut[0] if cut else ""
        return _TERMINAL_CONTROL.sub(_shown, text[: cut.start()] if cut else text)

    def end(self) -> str:
        """The rest."""
        text = self._begun + self._decoder.decode(b"", final=True)
        self._begun = ""
        return _TERMINAL_CONTROL.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def field(answer: Any, key: str, kind: type[T]) -> T:
    """A field of a JSON object; whole numbers pass as float. Raises Malformed."""
    if not isinstance(answer, dict) or key not in answer:
        raise Malformed(f"it has no {key}")
    value = answer[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"its {key} is no {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"its {key} is no number")
    return value


def optional(answer: Any, key: str, kind: type[T]) -> T | None:
    """The same of a field that may be missing, or null. Raises Malformed."""
    return None if isinstance(answer, dict) and answer.get(key) is None else field(answer, key, kind)


def items(answer: Any, key: str, kind: type[T]) -> list[T]:
    """A field that is a list, each item of which is of one kind. Raises Malformed."""
    listed: list[Any] = field(answer, key, list)
    if not all(isinstance(item, kind) for item in listed):
        raise Malformed(f"its {key} are not each a {kind.__name__}")
    return listed
