"""Which snapshots of a drive nobody needs when its user names the ones to keep. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone

from xportal.aws import tags
from xportal.aws.records import Snapshot
from xportal.drive.made import described
from xportal.drive.model import Drive
from xportal.errors import UsageError

# The same name in UTC is the same hour, day, or week of ISO 8601, which begins on a Monday.
PERIODS: dict[str, Callable[[datetime], Hashable]] = {
    "hourly": lambda moment: (moment.date(), moment.hour),
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
}


@dataclass(frozen=True)
class Keep:
    """How many snapshots to keep: the last ones, and the last one of each of so many hours, days and weeks that have
    any. A snapshot is kept if any of the four names it, as restic's `forget` counts them.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError if nothing would be named, or fewer than none."""
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, count in counts.items():
            if count < 0:
                raise UsageError(f"--keep-{name} {count} is not possible", hint="a whole number, 0 or more")
        if not any(counts.values()):
            raise UsageError("nothing says which snapshots to keep", hint="--keep-last 10 --keep-daily 7, for example")

    def named(self, snapshots: Sequence[Snapshot]) -> frozenset[str]:
        """The ids of those that stay."""
        newest_first = sorted(snapshots, key=lambda s: s.started, reverse=True)
        kept = {s.id for s in newest_first[: self.last]}
        for name, period_of in PERIODS.items():
            found: dict[Hashable, str] = {}
            for snapshot in newest_first:
                found.setdefault(period_of(snapshot.started.astimezone(timezone.utc)), snapshot.id)
            kept |= set(list(found.values())[: getattr(self, name)])
        return frozenset(kept)


def needless(drive: Drive, keep: Keep, among: frozenset[str] | None = None) -> tuple[Snapshot, ...]:
    """The snapshots that may go, oldest first; `among` these ids alone, if they are given.

    Never the newest complete one, nor what comes after it; nor one that is pending or in error, was made by hand, is
    of a volume that exists or the source of one, or is a stray; nor one without which another copy would count as
    newer or older than it does now. What another command has marked keeps none in its place.
    """
    complete = [s for s in drive.snapshots if s.state == "completed"]
    newest = max(complete, key=drive.order_of, default=None)
    if newest is None:
        return ()
    volumes = {v.id for v in drive.volumes} | {v.snapshot_id for v in drive.volumes}
    ours = [s for s in complete if described(s) and not drive.is_stray(s)]
    kept = keep.named([s for s in ours if tags.MARKED not in s.tags])
    going = [
        s
        for s in sorted(ours, key=lambda s: s.started)
        if s.id not in kept and not {s.id, s.volume_id} & volumes and tags.STAYS not in s.tags and s != newest
        if among is None or s.id in among
    ]
    return tuple(going) if _is_told_alike(drive, going) else _one_by_one(drive, going)


def _one_by_one(drive: Drive, going: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    found: list[Snapshot] = []
    for snapshot in going:
        if _is_told_alike(drive, [*found, snapshot]):
            found.append(snapshot)
    return tuple(found)


def _is_told_alike(drive: Drive, gone: Sequence[Snapshot]) -> bool:
    """Whether the copies that are left would tell the same of which is the newest, and of each one's generation."""
    left = replace(drive, snapshots=tuple(s for s in drive.snapshots if s not in gone))
    return (
        (left.newest(), left.forks()) == (drive.newest(), drive.forks())
        and all(left.generation_of(copy) == drive.generation_of(copy) for copy in left.copies)
        and _passed_over(left) <= _passed_over(drive)
    )


def _passed_over(drive: Drive) -> set[str]:
    """The copies that are passed over now, or will be once the volumes are saved and gone."""
    return {s.id for shown in (drive, replace(drive, volumes=())) for s in shown.passed_over()}
