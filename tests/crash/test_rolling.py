"""Rolling checkpoints go once a later final save is complete, and only they."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import Bench
from xportal.aws import storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, Snapshot
from xportal.aws.session import Aws
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import choose
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


def roll(bench: Bench, drive: str, machine: Instance) -> Snapshot:
    """A rolling checkpoint as the agent takes it, complete."""
    generation = observe(bench.aws, drive).volumes[0].tags[tags.GENERATION]
    told = {tags.OURS: "1", tags.NAME: drive, tags.DRIVE: drive, tags.GENERATION: generation}
    told |= {tags.KIND: tags.CHECKPOINT, tags.ROLLING: "1"}
    words = str(Description({drive: int(generation)}, tags.ROLLED))
    taken = storage.create_snapshot(bench.aws, machine.disks[DEVICE], description=words, tags=told)
    bench.aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken.id], WaiterConfig={"Delay": 1})
    return taken


def left(bench: Bench, drive: str) -> set[str]:
    """The ids of the drive's snapshots."""
    return {s.id for s in observe(bench.aws, drive).snapshots}


def test_rolling_checkpoints_go_with_the_final_save(bench: Bench, drive: str) -> None:
    """A checkpoint that the user asked for stays; so do those whose mark somebody took off, or that somebody marked."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "data")
    bench.save(drive)
    [asked] = observe(bench.aws, drive).snapshots
    set_tags(bench.aws, asked.id, {tags.ROLLING: "1"})
    kept = roll(bench, drive, machine)
    delete_tag(bench.aws, kept.id, tags.ROLLING)
    rolled = {roll(bench, drive, machine).id, roll(bench, drive, machine).id}
    assert rolled <= left(bench, drive)
    bench.down(drive)
    after = left(bench, drive)
    assert not rolled & after
    assert {asked.id, kept.id} < after
    assert len(after) == 3
    assert bench.read(bench.up(drive)) == ["data"]
    bench.down(drive)


def test_not_before_the_final_save_is_complete(bench: Bench, drive: str) -> None:
    """While the final save is on its way, and while the portal is up, they stay."""
    machine = bench.up(drive, size_gib=1)
    rolled = roll(bench, drive, machine)
    bench.lifecycle(drive).settle(p.Goal.SWEEP)
    assert rolled.id in left(bench, drive)
    bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Terminate,))
    assert rolled.id in left(bench, drive)
    bench.lifecycle(drive).settle(p.Goal.SWEEP)
    assert rolled.id not in left(bench, drive)


def test_one_that_the_user_chose(bench: Bench, drive: str) -> None:
    """`drives restore` makes it the newest: it is no rolling checkpoint any more."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "early")
    chosen = roll(bench, drive, machine)
    bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Mark,))
    restore(bench.aws, drive, chosen.id, bench.story)
    bench.down(drive)
    assert chosen.id in left(bench, drive)
    assert bench.read(bench.up(drive)) == ["early"]
    bench.down(drive)
    assert chosen.id in left(bench, drive)


def test_one_that_is_to_be_deleted_is_not_chosen(bench: Bench, drive: str) -> None:
    """Some command may have decided to delete it, however long ago: `drives restore` refuses it."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "early")
    rolled = roll(bench, drive, machine)
    bench.write(machine, "late")
    bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Prune,))
    with pytest.raises(NoSuchCopy):
        restore(bench.aws, drive, rolled.id, bench.story)
    assert bench.read(bench.up(drive)) == ["early", "late"]
    bench.down(drive)
    assert rolled.id not in left(bench, drive)


def test_one_that_is_marked_while_it_is_chosen(bench: Bench, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The `down` that marks it in the very moment sees no choice yet: the choice is taken back, and refused."""
    machine = bench.up(drive, size_gib=1)
    bench.write(machine, "early")
    rolled = roll(bench, drive, machine)
    bench.write(machine, "late")
    bench.lifecycle(drive).settle(p.Goal.DOWN, until=(p.Mark,))
    set_real = choose.set_tags

    def late(aws: Aws, resource: str, told: dict[str, str]) -> None:
        if tags.RESTORED in told:
            set_real(aws, rolled.id, {tags.MARKED: aws.now().isoformat()})
        set_real(aws, resource, told)

    monkeypatch.setattr(choose, "set_tags", late)
    with pytest.raises(NoSuchCopy):
        restore(bench.aws, drive, rolled.id, bench.story)
    assert bench.read(bench.up(drive)) == ["early", "late"]
    bench.down(drive)


def test_an_account_that_may_not_delete_them(bench: Bench, drive: str) -> None:
    """`down` has saved everything, and says that they stay."""
    machine = bench.up(drive, size_gib=1)
    rolled = roll(bench, drive, machine)

    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "UnauthorizedOperation", "Message": "you may not"}}
        raise ClientError(answer, "DeleteSnapshot")

    bench.aws.ec2.meta.events.register("before-call.ec2.DeleteSnapshot", refuse)
    bench.down(drive)
    assert rolled.id in left(bench, drive)
    assert f"{rolled.id} stays: this account may not delete it" in bench.story.lines
