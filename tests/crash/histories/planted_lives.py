"""Bugs that let a copy live again that somebody is about to delete, each as small as it would look in a diff."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from xportal.aws import storage, tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tagging import set_tags
from xportal.drive import act, launched
from xportal.drive import plan as p
from xportal.drive.choose import follow
from xportal.drive.generations import restored_text
from xportal.drive.made import is_final
from xportal.drive.model import Drive
from xportal.drive.observe import observe
from xportal.machine import launch
from xportal.portal.up import launch as launching

Plant = Callable[[pytest.MonkeyPatch], None]


def attach_what_has_a_final_save(patch: pytest.MonkeyPatch) -> None:
    """Its generation is raised before, so no earlier final save counts."""
    patch.setattr(Drive, "unsettled_finals", lambda *_: ())


def attach_what_is_marked(patch: pytest.MonkeyPatch) -> None:
    """The volume is there and detached."""
    condemned = Drive.is_condemned
    patch.setattr(Drive, "is_condemned", lambda self, volume: condemned(self, _unmarked(volume)))


def use_a_machine_whose_volume_is_marked(patch: pytest.MonkeyPatch) -> None:
    """The machine runs, and its drive is not saved."""
    patch.setattr(Drive, "is_spent", Drive.is_saved)


def discard_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    """The user has said yes: the volume goes."""
    plan = p._plan_discard

    def hurried(drive: Drive, *rest: Any) -> p.Action:
        return plan(replace(drive, volumes=tuple(map(_marked, drive.volumes))), *rest)

    patch.setattr(p, "_plan_discard", hurried)


def discard_by_id(patch: pytest.MonkeyPatch) -> None:
    """The volume is the one that was there when the user said yes, whoever has brought it up since."""
    patch.setattr(Drive, "life_of", lambda _, volume: volume.id)
    patch.setattr(p, "_is_later", lambda *_: False)


def count_a_late_final_save(patch: pytest.MonkeyPatch) -> None:
    """A final snapshot of this very volume is its final save."""

    def any_final(self: Drive, volume: Volume) -> Snapshot | None:
        finals = [s for s in self.snapshots if s.volume_id == volume.id and is_final(s)]
        return max(finals, key=lambda s: (s.state != "error", s.started), default=None)

    patch.setattr(Drive, "final_of", any_final)


def prune_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    """The final save has all that they have: they go."""

    def hurried(going: tuple[Snapshot, ...], why: str, *, asked: bool = False) -> p.Action | None:
        return p.Prune(going, why, asked) if going else None

    patch.setattr(p, "_prune", hurried)


def choose_what_is_marked(patch: pytest.MonkeyPatch) -> None:
    """It is there yet, and the user wants it."""
    patch.setattr(Drive, "is_going", lambda *_: False)
    choose_without_a_last_look(patch)


def choose_without_a_last_look(patch: pytest.MonkeyPatch) -> None:
    """The lock is ours, so nothing can have happened since."""

    def choose(aws: Aws, drive: Drive, copy: Volume | Snapshot, generation: int, *_: Any) -> None:
        told = {tags.GENERATION: str(generation), tags.FOLLOWED: tags.NOBODY}
        set_tags(aws, copy.id, {**told, tags.RESTORED: restored_text(drive.generation_of(copy), drive.now)})
        follow(aws, drive, generation, copy.id)
        for volume in drive.volumes:
            if volume.id != copy.id:
                set_tags(aws, volume.id, {tags.FOLLOWED: copy.id})

    patch.setattr(act, "choose", choose)


def discard_what_another_up_uses(patch: pytest.MonkeyPatch) -> None:
    """The lock is lost, so the copy is nobody's."""
    listed = storage.list_volumes

    def unconfirmed(aws: Aws, filters: Any) -> list[Volume]:
        found = listed(aws, filters)
        return [replace(v, tags={k: t for k, t in v.tags.items() if k != tags.GENERATION}) for v in found]

    discard = launched.discard

    def blind(aws: Aws, instance: Instance, **how: Any) -> bool:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(storage, "list_volumes", unconfirmed)
            return discard(aws, instance, **how)

    patch.setattr(launching, "discard", blind)


def confirm_before_the_look_at_the_lock(patch: pytest.MonkeyPatch) -> None:
    """The machine runs: its volumes get their names at once."""
    wait = launch._wait_running

    def named(aws: Aws, instance: Instance, beat: Any) -> Instance:
        running = wait(aws, instance, beat)
        name = running.tags[tags.DRIVE]
        if running.state == "running":
            launched.confirm(aws, running, {name: observe(aws, name).next_generation() - 1})
        return running

    patch.setattr(launch, "_wait_running", named)


def _marked(volume: Volume) -> Volume:
    return replace(volume, tags={**volume.tags, tags.MARKED: "now"})


def _unmarked(volume: Volume) -> Volume:
    return replace(volume, tags={key: value for key, value in volume.tags.items() if key != tags.MARKED})


# Each with the scenario in which it shows.
PLANTED: Mapping[str, tuple[Plant, str]] = {
    plant.__name__: (plant, scenario)
    for plant, scenario in (
        (attach_what_has_a_final_save, "down, after a notice"),
        (attach_what_is_marked, "down --discard, a volume"),
        (use_a_machine_whose_volume_is_marked, "down --discard"),
        (discard_without_a_mark, "down --discard, a volume"),
        (discard_by_id, "down --discard, a volume"),
        (count_a_late_final_save, "down, after a power cut"),
        (prune_without_a_mark, "sweep, rolling checkpoints"),
        (choose_what_is_marked, "restore, a rolling checkpoint"),
        (choose_without_a_last_look, "restore"),
        (discard_what_another_up_uses, "up, from a snapshot"),
        (confirm_before_the_look_at_the_lock, "up, from a snapshot"),
    )
}
