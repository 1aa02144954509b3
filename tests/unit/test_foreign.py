"""Words that come from elsewhere: one function for each kind takes any text, and gives what is safe to use."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paramiko.hostkeys import HostKeys

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Snapshot
from xportal.drive.made import described
from xportal.machine.userdata import new_host_key

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
NUMBERS = st.one_of(st.text(), st.floats().map(str), st.integers().map(str), st.from_regex(r"[0-9]{1,300}"))
TIMES = st.one_of(st.text(), st.datetimes(timezones=st.timezones() | st.none()).map(str))
LISTS = st.lists(st.sampled_from(["demo", "a b", "", "*", "../x", "b", "c"]), max_size=14).map(",".join)


@given(st.text())
@example("a\n")
@example("*")
@example("../x")
def test_names(told: str) -> None:
    """A name is no path, no pattern, no list of names, and fits into a tag."""
    name = foreign.name(told)
    assert name in (told, None)
    assert name is None or (not set(name) & set("/*?[], \n") and 0 < len(name) <= 60 and name[0] != ".")


@given(st.text())
@example("../../../Documents/*")
@example("/etc/passwd")
@example("a**")
@example("")
@example("a\n")
def test_file_stems(told: str) -> None:
    """What begins a file's name is one part of a path, and as a pattern it matches itself alone."""
    stem = foreign.file_stem(told)
    if stem is not None:
        assert Path(f"{stem}.key").name == f"{stem}.key"
        assert Path(f"{stem}.key").match(f"{stem}.*")


@given(NUMBERS)
@example("1" * 256)
@example("٣")
@example("-1")
@example("1_0")
def test_whole_numbers(told: str) -> None:
    """A generation is a number of plain digits, and one more than it can be told again."""
    number = foreign.whole(told)
    assert number is None or (number >= 0 and foreign.whole(str(number)) == number)


@given(NUMBERS)
@example("nan")
@example("-1e9")
@example("Infinity")
@example("1e999")
def test_amounts(told: str) -> None:
    """Dollars and hours can be added up and written again, and are never less than nothing."""
    amount = foreign.amount(told)
    assert amount is None or (0 <= amount < math.inf and len(f"{amount:.4f}") < 40)


@given(TIMES)
@example("2026-01-01T00:00:00")
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
def test_moments(told: str) -> None:
    """A time can be compared with AWS's, and subtracted from it."""
    moment = foreign.moment(told)
    assert moment is None or isinstance(NOW - moment, timedelta)


def test_a_moment_with_a_z() -> None:
    """As AWS writes UTC; it is no zone for Python 3.10."""
    assert foreign.moment("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert foreign.moment("2026-01-02T03:04:05+00:00Z") is None


@given(st.text())
@example("Thu, 01 Jan 1970 00:00:00 GMT")
@example("Mon, 99 Foo 2026")
def test_http_dates(told: str) -> None:
    """A header's date is a time in UTC, or none."""
    moment = foreign.http_date(told)
    assert moment is None or isinstance(NOW - moment, timedelta)


@given(st.text())
@example("127.0.0.1 -oProxyCommand=x")
@example("::1")
def test_addresses(told: str) -> None:
    """An address has no blank, no option, no line end."""
    address = foreign.address(told)
    assert address is None or set(address) <= set("0123456789abcdef.:%")


KEY = new_host_key().public
INJECTED = [
    f"{KEY}\n* {KEY}",
    f"@cert-authority * {KEY}",
    f"* {KEY}",
    f"{KEY}\r",
    "ssh-ed25519 AAAA",
    "ssh-rsa " + KEY[12:],
]


@given(st.text() | st.text().map(lambda text: f"{KEY} {text}"))
@example(KEY)
@example(INJECTED[0])
@example(INJECTED[1])
@example(INJECTED[2])
@example(INJECTED[3])
@example(INJECTED[4])
@example(INJECTED[5])
def test_host_keys(told: str) -> None:
    """What is told as a host key makes one line of known_hosts, for one machine alone."""
    key = foreign.host_key(told)
    if key is not None:
        assert key == KEY or "\n" not in key
        assert len(f"127.0.0.1 {key}".splitlines()) == 1
        assert key.count(" ") == 1
    assert told not in INJECTED or key is None


def test_a_host_key_is_what_ssh_reads(tmp_path: Path) -> None:
    """A machine's own key passes, with a comment or without, and paramiko reads it."""
    assert foreign.host_key(KEY) == foreign.host_key(f"{KEY} root@machine") == KEY
    file = tmp_path / "known_hosts"
    file.write_text(f"127.0.0.1 {KEY}\n")
    assert list(HostKeys(str(file)).keys()) == ["127.0.0.1"]


@given(st.text())
@example("\x1b]0;title\x07")
@example("a\nb\r\x9b31m\u202e")
@example("\ud800")
def test_printable(text: str) -> None:
    """What is printed is one line without a control character; plain text is as it was."""
    shown = foreign.printable(text)
    assert shown.isprintable()
    assert not text.isprintable() or shown == text


CONTROLS = {chr(n) for n in [*range(32), *range(127, 160)]} - set("\n\r\t\b")
PIECES = st.sampled_from(
    [
        b"\x1b[31m",
        b"\x1b[0K",
        b"\x1b]52;c;AAAA\x07",
        b"\x1b",
        b"[",
        b"6n",
        b"\x1b[2J",
        b"\xc2\x9b",
        b"\xe2\x80",
        b"\xae",
        b"a\n",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=5)), st.integers(1, 7))
@settings(max_examples=500)
def test_terminal_text(pieces: list[bytes], size: int) -> None:
    """However a program's output is cut into pieces, lines and colours pass, and no other control character does."""
    data = b"".join(pieces)
    whole, parts = foreign.TerminalText(), foreign.TerminalText()
    at_once = whole.feed(data) + whole.end()
    cut = "".join(parts.feed(data[at : at + size]) for at in range(0, len(data), size)) + parts.end()
    assert cut == at_once
    rest = at_once
    for colour in ("\x1b[31m", "\x1b[0K"):
        rest = rest.replace(colour, "")
    while (found := foreign._PASSING.search(rest)) is not None:  # random bytes may be a colour, too
        rest = rest[: found.start()] + rest[found.end() :]
    assert not CONTROLS & set(rest), rest


ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(ANSWERS, st.sampled_from([str, int, float, bool, list, dict]))
def test_fields(answer: object, kind: type) -> None:
    """A field of an answer is of its kind, or the answer is malformed; numbers are numbers."""
    told = json.loads(json.dumps(answer))
    for read in (foreign.field, foreign.optional):
        try:
            value = read(told, "a", kind)
        except foreign.Malformed:
            continue
        assert isinstance(value, kind) or (value is None and read is foreign.optional)
        assert not isinstance(value, float) or math.isfinite(value)


@given(LISTS)
def test_lists_of_drives(told: str) -> None:
    """A list of drives has names alone, each at the place that it had among words that are none; eleven at most."""
    words = told.split(",")
    places = tags.drive_places({tags.DRIVE: told})
    assert all(words[place] == name and foreign.name(name) and place < 11 for name, place in places.items())
    assert tags.drive_names({tags.DRIVE: told}) == tuple(places)


DESCRIPTIONS = st.tuples(LISTS, st.lists(NUMBERS, max_size=3).map(",".join), st.text()).map(
    lambda parts: f"xportal drive {parts[0]}, generation {parts[1]}, {parts[2]}"
)


@given(DESCRIPTIONS | st.text(), LISTS)
@example("xportal drive demo, generation ,, final", "demo")
@example("xportal drive demo, generation 1,2, final", "demo")
@example("xportal drive a,b, generation 1, final", "b")
@example(f"xportal drive demo, generation {'9' * 230}, final", "demo")
@example("xportal drive demo, generation \N{ARABIC-INDIC DIGIT ONE}, final", "demo")
def test_descriptions(told: str, tag: str) -> None:
    """A description tells one of its drives and that drive's generation, or nothing."""
    snapshot = Snapshot("snap-1", "vol-1", "completed", NOW, 1, description=told, tags={tags.DRIVE: tag})
    made = described(snapshot)
    assert made is None or (foreign.name(made.drive) and made.generation >= 0)


def test_a_description_of_ours_is_understood() -> None:
    """Of several drives each one's snapshot tells its own generation."""
    for drive, generation in itertools.chain({"a": 3, "b": 12}.items()):
        told = "xportal drive a,b, generation 3,12, final"
        made = described(Snapshot("s", "v", "completed", NOW, 1, description=told, tags={tags.DRIVE: drive}))
        assert made is not None
        assert (made.drive, made.generation, made.kind) == (drive, generation, "final")


def test_malformed_is_an_error_of_values() -> None:
    """Whoever maps a bad answer catches Malformed with JSON's own error."""
    with pytest.raises(ValueError, match="no a"):
        foreign.field([], "a", str)
