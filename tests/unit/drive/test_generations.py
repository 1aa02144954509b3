"""The rules of which copy is the newest (I1), one test a rule: xportal/drive/generations.py has them in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from xportal.aws import tags
from xportal.aws.records import Snapshot, Volume
from xportal.drive.generations import restored_text
from xportal.drive.made import Description
from xportal.drive.model import Drive

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=hours)


def taken(
    name: str, volume: str, generation: int, kind: str = tags.FINAL, hours: float = 0, told: Mapping[str, str] = {}
) -> Snapshot:
    """A snapshot that xportal took; `told` are tags beside its own."""
    own = {tags.GENERATION: str(generation), tags.KIND: kind, **told}
    text = str(Description({"demo": generation}, kind))
    return Snapshot(name, volume, "completed", at(hours), 8, tags=own, description=text)


def by_hand(name: str, volume: str, hours: float) -> Snapshot:
    """A snapshot that somebody made in the console."""
    return Snapshot(name, volume, "completed", at(hours), 8, tags={tags.NAME: "demo"})


def volume(
    name: str, generation: int | None, source: str | None = None, hours: float = 0, told: Mapping[str, str] = {}
) -> Volume:
    """A detached volume; without a generation its tag is lost."""
    own = {} if generation is None else {tags.GENERATION: str(generation)}
    return Volume(name, "available", 8, "a", at(hours), source, tags={**own, **told})


def drive(*copies: Volume | Snapshot) -> Drive:
    """What there is of drive demo, in an order that tells nothing."""
    items = copies[::-1]
    return Drive(
        "demo",
        at(24),
        volumes=tuple(i for i in items if isinstance(i, Volume)),
        snapshots=tuple(i for i in items if isinstance(i, Snapshot)),
    )


def generations(*copies: Volume | Snapshot) -> list[int]:
    """The generation of each."""
    return [drive(*copies).generation_of(copy) for copy in copies]


def test_1_a_snapshot_of_ours_is_what_its_description_tells_or_its_tag_if_that_is_higher() -> None:
    plain = taken("snap-1", "vol-1", 3)
    untagged = replace(plain, tags={})
    chosen = replace(plain, tags={tags.GENERATION: "7"})
    lowered = replace(plain, tags={tags.GENERATION: "2"})
    assert [generations(one) for one in (plain, untagged, chosen, lowered)] == [[3], [3], [7], [3]]


def test_2_a_snapshot_made_by_hand_is_of_its_volume_s_generation_or_later_than_all_before_it() -> None:
    ours = taken("snap-1", "vol-1", 4)
    assert generations(ours, by_hand("snap-h", "vol-1", 1), by_hand("snap-i", "vol-9", 1)) == [4, 4, 5]
    assert generations(ours, by_hand("snap-h", "vol-9", -1)) == [4, 1]  # it was there before
    assert generations(by_hand("snap-h", "vol-8", 1), by_hand("snap-i", "vol-9", 2)) == [1, 2]


def test_3_a_volume_is_what_its_tag_tells_or_what_can_be_derived() -> None:
    source = taken("snap-1", "vol-1", 4)
    assert generations(volume("vol-2", 9, "snap-1", 1), source)[0] == 9
    assert generations(volume("vol-2", None, "snap-1", 1), source)[0] == 5
    assert generations(volume("vol-2", None, "snap-gone", 1), source, taken("snap-2", "vol-2", 6, hours=2))[0] == 6
    assert generations(volume("vol-2", None, "snap-gone", 1), source)[0] == 5
    assert generations(volume("vol-2", None))[0] == 1  # blank
    chosen = {tags.RESTORED: restored_text(2, at(2))}
    assert generations(volume("vol-2", None, "snap-1", 1, told=chosen), source, taken("snap-2", "vol-3", 7))[0] == 8


def test_4_a_tag_never_puts_a_volume_behind_what_it_is_made_of_or_what_was_made_of_it() -> None:
    source, own = taken("snap-1", "vol-1", 4), taken("snap-2", "vol-2", 6, hours=2)
    assert generations(volume("vol-2", 1, "snap-1", 1), source)[0] == 5
    assert generations(volume("vol-2", 1, "snap-1", 1), source, own)[0] == 6


def test_5_the_highest_generation_is_the_newest_whatever_else_is_true_of_it() -> None:
    old = volume("vol-1", 3, hours=9)
    new = taken("snap-4", "vol-4", 4, tags.CHECKPOINT, hours=0)
    assert drive(old, new).newest() == new


def test_6_of_one_generation_a_stray_counts_less() -> None:
    stray = taken("snap-s", "vol-s", 4, hours=5, told={tags.STRAY: "1"})
    other = taken("snap-4", "vol-4", 4, tags.CHECKPOINT)
    assert drive(stray, other).newest() == other
    unconfirmed = volume("vol-s", None, "snap-3", 1, told={tags.LAUNCH: "L1"})
    source = taken("snap-3", "vol-3", 3)
    assert drive(source, unconfirmed).newest() == unconfirmed  # nothing else is of its generation
    assert drive(source, unconfirmed, other).newest() == other


def test_7_of_one_generation_a_volume_is_newer_than_snapshots() -> None:
    used = volume("vol-4", 4, hours=0)
    assert drive(used, taken("snap-4", "vol-4", 4, tags.CHECKPOINT, hours=1)).newest() == used


def test_8_of_one_generation_the_later_snapshot_is_newer_and_of_one_second_the_final_one() -> None:
    first, second = (taken(f"snap-{n}", "vol-4", 4, tags.CHECKPOINT, hours=n) for n in (1, 2))
    assert drive(first, second).newest() == second
    final = taken("snap-f", "vol-4", 4, hours=2)
    assert drive(final, second).newest() == final
    assert drive(replace(final, state="error"), second).newest() == second


def test_9_two_volumes_of_the_highest_generation_are_a_fork_and_a_copied_snapshot_is_none() -> None:
    one, other = taken("snap-1", "vol-1", 4), taken("snap-2", "vol-2", 4)
    assert drive(one, other).forks() == ("vol-1", "vol-2")
    assert drive(one, other, taken("snap-3", "vol-3", 5)).forks() == ()
    assert drive(volume("vol-1", 4), one).forks() == ()  # of one volume
    copied = replace(one, id="snap-c", volume_id="snap-c")  # as the records tell it
    assert drive(one, copied).forks() == ()


def test_10_the_newest_snapshot_must_have_been_led_to() -> None:
    left = taken("snap-1", "vol-1", 4, told={tags.FOLLOWED: tags.NOBODY})
    forged = taken("snap-2", "vol-2", 5, hours=1)
    assert drive(left, forged).passed_over() == (left,)
    followed = replace(left, tags={**left.tags, tags.FOLLOWED: "vol-2"})
    assert drive(followed, forged).passed_over() == ()
    given_up = replace(followed, tags={**followed.tags, tags.GIVEN_UP: "vol-2"})
    assert drive(given_up, taken("snap-3", "vol-3", 6, hours=2)).passed_over() == (given_up,)
    of_before = replace(left, tags={key: value for key, value in left.tags.items() if key != tags.FOLLOWED})
    assert drive(of_before, forged).passed_over() == ()
    saved_by_somebody_else = taken("snap-4", "vol-2", 5, hours=1)
    assert drive(given_up, saved_by_somebody_else, taken("snap-3", "vol-3", 6, hours=2)).passed_over() == ()
    told_by_volume = [volume("vol-1", 4, told={tags.FOLLOWED: told}) for told in ("snap-2", tags.NOBODY)]
    assert [drive(left, forged, it).passed_over() for it in told_by_volume] == [(), (left,)]
    half_chosen = replace(left, tags={**left.tags, tags.FOLLOWED: "snap-0"})
    older = taken("snap-0", "vol-0", 3)
    assert drive(older, half_chosen, forged).passed_over() == (half_chosen,)
