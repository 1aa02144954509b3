"""Which snapshots go when a user names those to keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from xportal.aws import tags
from xportal.aws.records import Snapshot, Volume
from xportal.drive.keep import Keep, needless
from xportal.drive.made import Description
from xportal.drive.model import Drive
from xportal.errors import UsageError

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)  # a Monday
NEW_YEAR = datetime(2026, 1, 2, tzinfo=timezone.utc)  # a Friday
HAND_MADE = Snapshot("snap-hand", "vol-x", "completed", NOW - timedelta(days=90), 8, tags={tags.NAME: "demo"})


def saved(*moments: datetime, state: str = "completed") -> tuple[Snapshot, ...]:
    """A final save of each of so many lives, which are of generations 1, 2, ..."""
    return tuple(
        Snapshot(
            f"snap-{number}",
            f"vol-{number}",
            state,
            moment,
            8,
            tags={tags.DRIVE: "demo", tags.NAME: "demo", tags.GENERATION: str(number), tags.KIND: tags.FINAL},
            description=str(Description({"demo": number}, tags.FINAL)),
        )
        for number, moment in enumerate(sorted(moments), start=1)
    )


def going(keep: Keep, *snapshots: Snapshot, volumes: tuple[Volume, ...] = ()) -> list[str]:
    """The ends of the ids of those that go."""
    drive = Drive("demo", NOW, snapshots=snapshots, volumes=volumes)
    return [snapshot.id.removeprefix("snap-") for snapshot in needless(drive, keep)]


def ago(**told: float) -> datetime:
    """A moment so long before now."""
    return NOW - timedelta(**told)


HOURS = [ago(hours=2), ago(hours=1, minutes=30), ago(hours=1, minutes=10), ago(minutes=40), ago(minutes=20)]
DAYS = [ago(days=3), ago(days=1, hours=1), ago(days=1), ago(hours=1), ago(minutes=1)]
WEEKS = [ago(days=15), ago(days=8), ago(days=7), ago(days=1), ago(hours=2)]  # Sunday, Sunday, Monday, Sunday, Monday
ROWS = [
    ("the last one", Keep(last=1), HOURS, ["1", "2", "3", "4"]),
    ("the last three", Keep(last=3), HOURS, ["1", "2"]),
    ("more than there are", Keep(last=9), HOURS, []),
    ("the last of each of two hours", Keep(hourly=2), HOURS, ["1", "2", "4"]),
    ("of each of nine hours", Keep(hourly=9), HOURS, ["1", "2", "4"]),
    ("of each of three days, with a day between that has none", Keep(daily=3), DAYS, ["2", "4"]),
    ("of one day", Keep(daily=1), DAYS, ["1", "2", "3", "4"]),
    ("of each of two weeks", Keep(weekly=2), WEEKS, ["1", "2", "3"]),
    ("of each of four weeks", Keep(weekly=4), WEEKS, ["3"]),
    ("what any of them names", Keep(last=2, daily=2), DAYS, ["1", "2"]),
    ("the turn of a year", Keep(weekly=2), [datetime(2025, 12, 30, tzinfo=timezone.utc), NEW_YEAR], ["1"]),
    ("nothing there", Keep(last=1), [], []),
]


@pytest.mark.parametrize(("keep", "moments", "gone"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_dates(keep: Keep, moments: list[datetime], gone: list[str]) -> None:
    """Dates and policies against what goes."""
    assert going(keep, *saved(*moments)) == gone


def test_what_came_after_the_user_was_asked_stays() -> None:
    """The newest of then is needless by now, and nobody agreed to its deletion."""
    drive = Drive("demo", NOW, snapshots=saved(*HOURS))
    asked = frozenset({"snap-1", "snap-2"})
    assert {snapshot.id for snapshot in needless(drive, Keep(last=1), asked)} == asked


def test_periods_are_in_utc() -> None:
    """Whatever the zone of the clock that AWS's answer is read with."""
    east = timezone(timedelta(hours=14))
    late = [ago(hours=11), ago(hours=13)]  # 1:00 today and 23:00 yesterday, both today in the east
    assert going(Keep(daily=2), *saved(*(moment.astimezone(east) for moment in late))) == []


LIVES = saved(ago(days=3), ago(days=2), ago(days=1))
LAST = Keep(last=1)


@pytest.mark.parametrize("state", ["pending", "error"])
def test_the_newest_complete_one_stays(state: str) -> None:
    """Also when a later one is not complete yet, or never will be; and that stays, too."""
    newest = replace(saved(*[ago(days=n) for n in range(4)])[-1], state=state)
    assert going(LAST, *LIVES, newest) == ["1", "2"]


def test_the_newest_complete_one_stays_whatever_its_date() -> None:
    """Its user went back to the first one, and what came of that is pending."""
    chosen = replace(LIVES[0], tags={**LIVES[0].tags, tags.GENERATION: "4", tags.RESTORED: f"1 {NOW.isoformat()}"})
    pending = replace(saved(*[ago(hours=n) for n in range(5)])[-1], state="pending")
    assert going(LAST, chosen, *LIVES[1:], pending) == ["2"]


def test_a_pending_one_of_old_stays() -> None:
    """Its volume may wait for it."""
    assert going(LAST, replace(LIVES[0], state="pending"), *LIVES[1:]) == ["2"]


def test_what_another_command_marked_keeps_none_in_its_place() -> None:
    """It may be gone in a moment."""
    marked = replace(LIVES[1], tags={**LIVES[1].tags, tags.MARKED: NOW.isoformat()})
    assert going(Keep(last=2), LIVES[0], marked, LIVES[2]) == ["2"]


@pytest.mark.parametrize(
    ("volume", "gone"),
    [
        (Volume("vol-1", "available", 8, "a", NOW, None, tags={tags.DRIVE: "demo", tags.GENERATION: "1"}), ["2"]),
        (Volume("vol-9", "in-use", 8, "a", NOW, "snap-2", tags={tags.DRIVE: "demo", tags.GENERATION: "9"}), ["1"]),
    ],
    ids=["saves of it", "the source of it"],
)
def test_what_belongs_to_a_volume_stays(volume: Volume, gone: list[str]) -> None:
    """They may permit its deletion, and it is restored from them."""
    assert going(LAST, *LIVES, volumes=(volume,)) == gone


def test_what_is_not_xportals_stays() -> None:
    """And it counts for nothing."""
    assert going(Keep(last=2), HAND_MADE, *LIVES) == ["1"]


@pytest.mark.parametrize("told", [{tags.STRAY: "1"}, {tags.STAYS: "somebody made an image of it"}])
def test_strays_and_what_cannot_be_deleted_stay(told: dict[str, str]) -> None:
    """A stray's work is nowhere else; an image's snapshot is refused."""
    assert going(LAST, replace(LIVES[0], tags={**LIVES[0].tags, **told}), *LIVES[1:]) == ["2"]


@pytest.mark.parametrize(("days", "gone"), [(2.9, ["2"]), (1.9, ["1"])])
def test_what_places_a_copy_that_was_made_by_hand_stays(days: float, gone: list[str]) -> None:
    """Its generation is told by the snapshots before it alone: without the last of them it would be another."""
    assert going(LAST, *LIVES, replace(HAND_MADE, started=ago(days=days))) == gone


def test_what_tells_of_a_forged_copy_stays() -> None:
    """The drive went on with vol-2, as its snapshot proves: without that it would count as given up, and the newest
    one as forged.
    """
    discarded = {tags.FOLLOWED: "vol-2", tags.GIVEN_UP: "vol-2"}
    first = replace(LIVES[0], tags={**LIVES[0].tags, **discarded, tags.STAYS: "an image"})
    assert going(LAST, first, *LIVES[1:]) == []


@pytest.mark.parametrize("told", [{}, {"last": -1}, {"daily": -3, "last": 1}])
def test_bad_policies(told: dict[str, int]) -> None:
    """Nothing to keep would mean everything goes: it is refused."""
    with pytest.raises(UsageError):
        Keep(**told)
