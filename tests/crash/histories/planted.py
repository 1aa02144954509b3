"""Bugs that somebody might write into the drive protocol, each as small as it would look in a diff."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from xportal.aws import storage, tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.aws.session import Aws
from xportal.drive import launched, locks, observe
from xportal.drive import plan as p
from xportal.drive.model import Drive
from xportal.drive.snapshots import Snapshots
from xportal.machine import launch
from xportal.machine.offers import Offer
from xportal.portal import claims as claiming
from xportal.portal.up import launch as launching

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
    """Every computer has a key pair of its own to log in with. Who launches a drive from the same copy sends the same
    ClientToken, and so gets the same machine.
    """
    for module in (claiming, locks, observe):
        patch.setattr(module, "lock_name", lambda drive: f"xportal-{drive}-{os.environ['XDG_STATE_HOME'][-3:]}")
    request = launch.run_request

    def with_token(order: launch.LaunchOrder, offer: Offer, group_id: str) -> dict[str, Any]:
        [drive] = order.drives
        what = f"{drive.name} {drive.source and drive.source.id} {offer.type.name} {offer.zone}"
        return request(order, offer, group_id) | {"ClientToken": sha256(what.encode()).hexdigest()}

    patch.setattr(launch, "run_request", with_token)


def treat_root_as_drive(patch: pytest.MonkeyPatch) -> None:
    """What carries the drive's tag is the drive."""
    patch.setattr(observe, "_is_drive", lambda volume, *_: volume.state != "deleting")
    patch.setattr(launched, "delete_tag", lambda *_: None)


def no_look_up_before_create_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The observation that the plan was made from is fresh enough, however long the agent took to unmount."""

    def snapshot(self: Snapshots, drive: Drive, volume: Volume, machine: Instance | None = None) -> None:
        moment = self._moment(drive, volume, machine)
        for volume_id, told in moment.items():
            self._seal(volume_id, told)
        self._show(self._create_snapshots(moment, machine, {tags.KIND: tags.FINAL}))

    patch.setattr(Snapshots, "final", snapshot)


def ask_again_for_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A CreateSnapshot whose answer is lost is asked for again at once, as the SDK does by default."""
    create = storage.create_snapshot

    def created(aws: Aws, *args: Any, **kwargs: Any) -> Snapshot:
        again = copy(aws)
        again.once = aws.ec2
        return create(again, *args, **kwargs)

    patch.setattr(storage, "create_snapshot", created)


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
        ask_again_for_a_snapshot,
        delete_at_pending,
        ignore_delete_on_termination,
        no_second_look_at_the_lock,
    )
}
