"""Rolling checkpoints go once a later final save is complete, and only they."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import Lab
from tests.crash.meanwhile import before_call, tags_in
from xportal.aws import storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, Snapshot
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.made import Description
from xportal.drive.observe import observe
from xportal.errors import NoSuchCopy
from xportal.portal.restore import restore

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"rolling{next(_numbers)}"


def roll(lab: Lab, drive: str, machine: Instance) -> Snapshot:
    """A rolling checkpoint as the agent takes it, complete."""
    generation = observe(lab.aws, drive).volumes[0].tags[tags.GENERATION]
    told = {tags.OURS: "1", tags.NAME: drive, tags.DRIVE: drive, tags.GENERATION: generation}
    told |= {tags.KIND: tags.CHECKPOINT, tags.ROLLING: "1"}
    words = str(Description({drive: int(generation)}, tags.ROLLED))
    taken = storage.create_snapshot(lab.aws, machine.disks[DEVICE], description=words, tags=told)
    lab.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken.id], WaiterConfig={"Delay": 1})
    return taken


def left(lab: Lab, drive: str) -> set[str]:
    """The ids of the drive's snapshots."""
    return {s.id for s in observe(lab.aws, drive).snapshots}


def test_rolling_checkpoints_go_with_the_final_save(lab: Lab, drive: str) -> None:
    """A checkpoint that the user asked for stays; so do those whose mark somebody took off, or that somebody marked."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "data")
    lab.save(drive)
    [asked] = observe(lab.aws, drive).snapshots
    set_tags(lab.aws, asked.id, {tags.ROLLING: "1"})
    kept = roll(lab, drive, machine)
    delete_tag(lab.aws, kept.id, tags.ROLLING)
    rolled = {roll(lab, drive, machine).id, roll(lab, drive, machine).id}
    assert rolled <= left(lab, drive)
    lab.down(drive)
    after = left(lab, drive)
    assert not rolled & after
    assert {asked.id, kept.id} < after
    assert len(after) == 3
    assert lab.read(lab.up(drive)) == ["data"]
    lab.down(drive)


def test_not_before_the_final_save_is_complete(lab: Lab, drive: str) -> None:
    """While the final save is on its way, and while the portal is up, they stay."""
    machine = lab.up(drive, size_gib=1)
    rolled = roll(lab, drive, machine)
    lab.lifecycle(drive).settle(p.Goal.SWEEP)
    assert rolled.id in left(lab, drive)
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    assert rolled.id in left(lab, drive)
    lab.lifecycle(drive).settle(p.Goal.SWEEP)
    assert rolled.id not in left(lab, drive)


def test_one_that_the_user_chose(lab: Lab, drive: str) -> None:
    """`drives restore` makes it the newest: it is no rolling checkpoint any more."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "early")
    chosen = roll(lab, drive, machine)
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Mark,))
    restore(lab.aws, drive, chosen.id, lab.story)
    lab.down(drive)
    assert chosen.id in left(lab, drive)
    assert lab.read(lab.up(drive)) == ["early"]
    lab.down(drive)
    assert chosen.id in left(lab, drive)


def test_one_that_is_to_be_deleted_is_not_chosen(lab: Lab, drive: str) -> None:
    """Some command may have decided to delete it, however long ago: `drives restore` refuses it."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "early")
    rolled = roll(lab, drive, machine)
    lab.write(machine, "late")
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Prune,))
    with pytest.raises(NoSuchCopy):
        restore(lab.aws, drive, rolled.id, lab.story)
    assert lab.read(lab.up(drive)) == ["early", "late"]
    lab.down(drive)
    assert rolled.id not in left(lab, drive)


def test_one_that_is_marked_while_it_is_chosen(lab: Lab, drive: str) -> None:
    """The `down` that marks it in the very moment sees no choice yet: the choice is taken back, and refused."""
    machine = lab.up(drive, size_gib=1)
    lab.write(machine, "early")
    rolled = roll(lab, drive, machine)
    lab.write(machine, "late")
    lab.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Mark,))

    def mark(params: Mapping[str, Any]) -> bool:
        chooses = tags.RESTORED in tags_in(params)
        if chooses:
            set_tags(lab.aws, rolled.id, {tags.MARKED: lab.aws.now().isoformat()})
        return chooses

    with before_call(lab.aws, "CreateTags", mark), pytest.raises(NoSuchCopy):
        restore(lab.aws, drive, rolled.id, lab.story)
    assert lab.read(lab.up(drive)) == ["early", "late"]
    lab.down(drive)


def test_an_account_that_may_not_delete_them(lab: Lab, drive: str) -> None:
    """`down` has saved everything, and says that they stay."""
    machine = lab.up(drive, size_gib=1)
    rolled = roll(lab, drive, machine)

    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "UnauthorizedOperation", "Message": "you may not"}}
        raise ClientError(answer, "DeleteSnapshot")

    lab.aws.ec2.meta.events.register("before-call.ec2.DeleteSnapshot", refuse)
    lab.down(drive)
    assert rolled.id in left(lab, drive)
    assert f"{rolled.id} stays: this account may not delete it" in lab.story.lines
