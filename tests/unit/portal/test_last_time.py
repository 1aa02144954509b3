"""What a portal was at its last `up`: written to tags, read as foreign words, completed by the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from xportal.aws.tags import REMEMBERED
from xportal.errors import UsageError
from xportal.portal.last_time import VALUE_MAX, LastTime, asked_as, completed, from_tags, to_tags
from xportal.spec import DriveSpec, Followed, MachineSpec, PortalSpec, UnattendedSpec
from xportal.spec.reading import read_spec

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
PLAIN = LastTime("p", AT, ("p",))
WHOLE = LastTime(
    "p",
    AT,
    ("a", "b"),
    gpu=True,
    types=("g5.xlarge", "g6.xlarge"),
    min_gpu_memory_gib=24.0,
    architecture="x86_64",
    on_notice="touch '/v1/my stop'",
    idle_minutes=30.0,
    checkpoint_on_rebalance=True,
    checkpoint_minutes=7.5,
)
FOLLOWS = Followed("train.yaml", "0123456789ab", max_price=0.5, image_id="ami-1", wait_capacity=True, budget=20.0)
FOLLOWING = replace(WHOLE, follows=FOLLOWS)
LONG = LastTime("p" * 60, AT, tuple(f"{n:060}" for n in range(2)), types=tuple(f"m{n}.metal-48xl" for n in range(60)))


def with_words(**words: Any) -> dict[str, str]:
    """The tags of a plain portal, with some words more, or others."""
    return {REMEMBERED: json.dumps({**json.loads(to_tags(PLAIN)[REMEMBERED]), **words})}


@pytest.mark.parametrize(
    "last", [PLAIN, WHOLE, FOLLOWING, LONG, LastTime("p", AT, ("p",), gpu=False, idle_minutes=0.0)]
)
def test_what_is_written_is_read(last: LastTime) -> None:
    """In tags as long as EC2 takes them, few of its fifty; what a longer text left behind does no harm."""
    told = to_tags(last)
    assert all(len(value) <= VALUE_MAX and value.isascii() for value in told.values())
    assert from_tags(told, last.portal) == last
    assert from_tags({**to_tags(LONG), **told}, last.portal) == last


def test_what_is_too_long_is_refused() -> None:
    """Before anything is asked of AWS."""
    with pytest.raises(UsageError, match="too long"):
        to_tags(LastTime("p", AT, ("p",), types=("t3.medium",) * 300))


@pytest.mark.parametrize(
    "told",
    [
        {REMEMBERED: "x"},
        {REMEMBERED: "[" * VALUE_MAX, **{f"{REMEMBERED}.{n}": "[" * VALUE_MAX for n in range(2, 9)}},
        {REMEMBERED: "[]"},
        {REMEMBERED: to_tags(WHOLE)[REMEMBERED][:-1]},
        with_words(drives=[]),
        with_words(drives="p"),
        with_words(drives=["p", "p"]),
        with_words(drives=["../../etc"]),
        with_words(drives=["a\x1b[2J"]),
        with_words(drives=[f"d{n}" for n in range(12)]),
        with_words(drives=[None]),
        with_words(drives=None),
        with_words(at="yesterday"),
        with_words(at="2026-01-02T03:04:05"),
        with_words(at=5),
        with_words(gpu="yes"),
        with_words(gpu=1),
        with_words(gpu=False, gpu_memory=24),
        with_words(types=["g5.xlarge; reboot"]),
        with_words(types="g5.xlarge"),
        with_words(gpu_memory=float("nan")),
        with_words(gpu_memory=float("inf")),
        with_words(gpu_memory=-1),
        with_words(gpu_memory=10**400),
        with_words(architecture="sparc"),
        with_words(architecture=["arm64"]),
        with_words(idle=-1),
        with_words(idle=True),
        with_words(every="often"),
        with_words(rebalance="on"),
        with_words(on_notice="\x1b]0;title\x07"),
        with_words(on_notice="x" * 101),
    ],
)
def test_what_makes_no_sense_is_an_error_in_one_line(told: dict[str, str]) -> None:
    """Whatever somebody wrote there: ValueError, whose words go to a terminal."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its words are ours
        from_tags(told, "p")
    assert str(caught.value).isprintable()


def test_another_portal_s_tags_say_nothing_of_this_one() -> None:
    """Nor do none; words of a newer xportal are passed over."""
    assert from_tags(to_tags(WHOLE), "q") is None
    assert from_tags({}, "p") is None
    assert from_tags(with_words(market="spot"), "p") == PLAIN


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"gpu": True, "types": ("g5.xlarge", "g6.xlarge"), "min_gpu_memory_gib": 24.0, "architecture": "x86_64"}),
        ({"gpu": False}, {"gpu": False, "architecture": "x86_64"}),
        ({"gpu": True}, {"gpu": True, "architecture": "x86_64"}),
        ({"types": ("t3.large",)}, {"types": ("t3.large",), "architecture": "x86_64"}),
        ({"min_gpu_memory_gib": 40.0}, {"min_gpu_memory_gib": 40.0, "architecture": "x86_64"}),
        ({"on_demand": True}, {"on_demand": True, "gpu": True, "types": ("g5.xlarge", "g6.xlarge"),
                               "min_gpu_memory_gib": 24.0, "architecture": "x86_64"}),
    ],
)  # fmt: skip
def test_a_machine_is_as_last_time_unless_told_otherwise(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    """One option that chooses the machine replaces all that do, so that none contradicts what is remembered."""
    assert completed(PortalSpec("p", MachineSpec(**asked)), WHOLE).machine == MachineSpec(**expected)


def test_settings_are_as_last_time_one_by_one() -> None:
    """Each option wins over what is remembered of it; a command is never taken from a tag."""
    spec = completed(PortalSpec("p", alone=UnattendedSpec(idle_minutes=0.0)), WHOLE)
    assert spec.alone == UnattendedSpec(None, 0.0, True, 7.5)


def test_drives_are_as_last_time_unless_told_otherwise() -> None:
    """A size is that of the only drive; of several it is not clear whose."""
    assert completed(PortalSpec("p"), WHOLE).drives == (DriveSpec("a"), DriveSpec("b"))
    other = PortalSpec("p", drives=(DriveSpec("c", 5),))
    assert completed(other, WHOLE).drives == other.drives
    assert completed(other, WHOLE).machine.architecture is None
    assert completed(PortalSpec("p", size_gib=70), PLAIN).drives == (DriveSpec("p", 70),)
    with pytest.raises(UsageError, match="--size is of one drive"):
        completed(PortalSpec("p", size_gib=70), WHOLE)


def test_what_was_asked_is_what_is_remembered() -> None:
    """Never the market, a price or an image; a new command at a notice by its beginning, else the one of before."""
    spec = PortalSpec("p", MachineSpec(gpu=True, on_demand=True, image_id="ami-1"), drives=(DriveSpec("a", 5),))
    assert asked_as(spec, AT, WHOLE) == LastTime("p", AT, ("a",), gpu=True, on_notice=WHOLE.on_notice)
    loud = PortalSpec("p", alone=UnattendedSpec(on_notice="echo\a " + "x" * 200))
    shown = asked_as(loud, AT, WHOLE).on_notice
    assert shown
    assert (len(shown), shown.isprintable()) == (100, True)
    assert from_tags(to_tags(asked_as(loud, AT, None)), "p") == asked_as(loud, AT, None)


def test_it_is_told_as_options() -> None:
    """As a person would type them; nothing where nothing is needed."""
    assert PLAIN.words() == ""
    assert WHOLE.words() == (
        "--drive a --drive b --gpu --type g5.xlarge --type g6.xlarge --min-gpu-memory 24 --architecture x86_64 "
        "--on-notice 'touch '\"'\"'/v1/my stop'\"'\"'' --idle-minutes 30 --checkpoint-every 7.5 "
        "--checkpoint-on-rebalance"
    )


@pytest.mark.parametrize(
    "spec",
    [
        "train.yaml", {}, {"file": "a"}, {"file": "a\n", "digest": "0"}, {"file": "a" * 101, "digest": "0"},
        {"file": "a", "digest": 0}, {"file": "a", "digest": "0", "budget": -1},
        {"file": "a", "digest": "0", "budget": "1"},
        {"file": "a", "digest": "0", "end_price": 0}, {"file": "a", "digest": "0", "max_price": -1},
        {"file": "a", "digest": "0", "on_demand": 1},
    ],
)  # fmt: skip
def test_a_spec_that_makes_no_sense_is_refused(spec: Any) -> None:
    """Word by word, as somebody may have written it into a tag."""
    with pytest.raises(ValueError, match=r"makes no sense|not possible"):
        from_tags(with_words(spec=spec), "p")


def test_a_file_leaves_nothing_open_but_the_drives() -> None:
    """Its keys that are not there are defaults, and not as last time."""
    file = read_spec("p.yaml", b"name: p\n", {})
    spec = completed(replace(PortalSpec("p"), file=file, follows=file.follows, alone=file.alone), WHOLE)
    assert (spec.machine, spec.alone) == (MachineSpec(), UnattendedSpec("", 0.0, False, 0.0))
    assert [drive.name for drive in spec.drives] == ["a", "b"]
    assert asked_as(spec, AT, WHOLE).follows == file.follows


@pytest.mark.parametrize(
    ("asked", "market", "price"),
    [
        (MachineSpec(), None, 0.5), (MachineSpec(max_price=2.0), None, 2.0), (MachineSpec(on_demand=True), True, None),
        (MachineSpec(on_demand=False), False, 0.5),
    ],
)  # fmt: skip
def test_without_the_file_its_market_and_price_go_on(asked: MachineSpec, market: bool | None, price: float) -> None:
    """Unless the command line says another; the image does not, for whoever may tag could choose it."""
    spec = completed(PortalSpec("p", asked), FOLLOWING)
    assert (spec.machine.on_demand, spec.machine.max_price, spec.machine.image_id) == (market, price, None)
    assert spec.follows == FOLLOWS
