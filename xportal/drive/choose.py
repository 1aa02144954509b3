"""Which copy a drive goes on with, written on the copies: a user's choice, and what came after what."""

from __future__ import annotations

from xportal.aws import tags
from xportal.aws.errors import AwsError
from xportal.aws.lag import wait_for_lists
from xportal.aws.records import Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import COPY_GONE, delete_tag, set_tags, set_tags_of_all
from xportal.drive import refusals
from xportal.drive.generations import restored_text
from xportal.drive.locks import Lock
from xportal.drive.model import Drive, LockState
from xportal.drive.observe import observe
from xportal.progress import Progress


def follow(aws: Aws, drive: Drive, generation: int, with_: str) -> None:
    """Say on the copies before `generation` that the drive went on, with what volume or copy. Idempotent.

    See `Drive.passed_over`: it is said before anything can come after them that no user brought about.
    """
    set_tags_of_all(aws, [s.id for s in drive.to_be_followed(generation)], {tags.FOLLOWED: with_})


def choose(
    aws: Aws, drive: Drive, copy: Volume | Snapshot, generation: int, lock: Lock | None, progress: Progress
) -> None:
    """Put a copy before all others, as a generation of its own. Raises NoSuchCopy if it is to be deleted by now,
    DriveInUse if the lock is another's.
    """
    before = drive.generation_of(copy)
    progress.say(f'drive "{drive.name}" goes on from {copy.id} (generation {before}), as generation {generation}')
    told = {tags.GENERATION: str(generation), tags.RESTORED: restored_text(before, drive.now)}
    told[tags.FOLLOWED] = tags.NOBODY
    own = {tags.NAME: drive.name, tags.DRIVE: drive.name} if isinstance(copy, Volume) else {}
    _follow_volumes(aws, drive, copy)  # first: if this command dies, whoever saves them says what came after them
    set_tags(aws, copy.id, {**told, **own})  # a volume may have told of several drives until now
    wait_for_lists(aws)  # a deletion that was decided meanwhile shows then; who decides on one from now on sees this
    now = observe(aws, drive.name)
    found = now.find_copy(copy.id)
    saved = isinstance(found, Volume) and now.unsettled_finals(found)
    going = found is None or tags.MARKED in found.tags or saved
    if going or now.lock_state(lock.launch if lock else None) is not LockState.MINE:
        _unchoose(aws, copy, before)
        raise refusals.is_going(now, copy) if going else refusals.gone_on(now, copy)
    follow(aws, now, generation, copy.id)
    _follow_volumes(aws, now, copy)


def _follow_volumes(aws: Aws, drive: Drive, copy: Volume | Snapshot) -> None:
    """Say on the drive's other volumes, whose snapshots are yet to come, what comes after them. It counts once the copy
    is of a later generation.
    """
    others = (v for v in drive.volumes if v.id != copy.id)
    set_tags_of_all(aws, [v.id for v in others if v.tags.get(tags.FOLLOWED) != copy.id], {tags.FOLLOWED: copy.id})


def _unchoose(aws: Aws, copy: Volume | Snapshot, generation: int) -> None:
    """Take a choice back. A copy that is gone by now needs nothing."""
    try:
        set_tags(aws, copy.id, {tags.GENERATION: str(generation)})
        for key in (tags.RESTORED, tags.FOLLOWED):
            if key in copy.tags:
                set_tags(aws, copy.id, {key: copy.tags[key]})
            else:
                delete_tag(aws, copy.id, key)
    except AwsError as error:
        if error.code not in COPY_GONE:
            raise
