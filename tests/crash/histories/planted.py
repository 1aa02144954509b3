"""Bugs that somebody might write into the drive protocol, each as small as it would look in a diff."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from xportal.aws import tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.drive import observe
from xportal.drive import plan as p
from xportal.drive.lifecycle import Lifecycle
from xportal.drive.model import Drive, LockState
from xportal.machine import launch
from xportal.portal import launching

Plant = Callable[[pytest.MonkeyPatch], None]


def pick_by_start_time(patch: pytest.MonkeyPatch) -> None:
    """The newest snapshot is the one that was started last."""
    patch.setattr(Drive, "newest_snapshot", lambda self: max(self.snapshots, key=lambda s: s.started, default=None))


def skip_a_pending_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The newest snapshot that can be used at once is good enough."""
    newest = Drive.newest_snapshot

    def completed(self: Drive) -> Snapshot | None:
        return newest(replace(self, snapshots=tuple(s for s in self.snapshots if s.state == "completed")))

    patch.setattr(Drive, "newest_snapshot", completed)


def delete_on_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """Any snapshot of a volume is its successor."""

    def any_of(self: Drive, volume: Volume) -> Snapshot | None:
        return max((s for s in self.snapshots if s.volume_id == volume.id), key=lambda s: s.started, default=None)

    patch.setattr(Drive, "final_of", any_of)


def lock_by_client_token(patch: pytest.MonkeyPatch) -> None:
    """Whoever finds the key pair has it, and each `up`'s ClientToken is to keep the launches apart."""
    state = Drive.lock_state

    def everybodys(self: Drive, mine: str | None) -> LockState:
        return LockState.MINE if self.lock and mine else state(self, mine)

    patch.setattr(Drive, "lock_state", everybodys)
    patch.setattr(launch, "client_token", lambda *_: secrets.token_hex(16))
    no_second_look_at_the_lock(patch)


def treat_root_as_drive(patch: pytest.MonkeyPatch) -> None:
    """What carries the drive's tag is the drive."""
    patch.setattr(observe, "_is_drive", lambda volume, *_: volume.state != "deleting")
    patch.setattr(launch, "delete_tag", lambda *_: None)


def no_look_up_before_create_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The observation that the plan was made from is fresh enough."""

    def snapshot(self: Lifecycle, volume: Volume, machine: Instance | None = None) -> None:
        moment = self._moment(self.observed, volume, machine)
        self._show(self._create_snapshots(moment, machine, {tags.KIND: tags.FINAL}))

    patch.setattr(Lifecycle, "_snapshot", snapshot)


def delete_at_pending(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that was started is as good as complete."""
    settle = p._settle_detached

    def hurried(drive: Drive, volume: Volume) -> p.Action | None:
        action, final = settle(drive, volume), drive.final_of(volume)
        return p.DeleteVolume(volume, "it is saved") if isinstance(action, p.Wait) and final else action

    patch.setattr(p, "_settle_detached", hurried)


def ignore_delete_on_termination(patch: pytest.MonkeyPatch) -> None:
    """The launch said that the volume stays, so it stays."""
    settle = p._settle

    def trusting(drive: Drive, volume: Volume, *rest: Any) -> p.Action | None:
        return settle(drive, replace(volume, delete_on_termination=False), *rest)

    patch.setattr(p, "_settle", trusting)


def no_second_look_at_the_lock(patch: pytest.MonkeyPatch) -> None:
    """Who had the lock before the launch has it after."""
    patch.setattr(launching, "_check_lock", lambda *_: None)


PLANTED: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        pick_by_start_time,
        skip_a_pending_snapshot,
        delete_on_checkpoint,
        lock_by_client_token,
        treat_root_as_drive,
        no_look_up_before_create_snapshot,
        delete_at_pending,
        ignore_delete_on_termination,
        no_second_look_at_the_lock,
    )
}
