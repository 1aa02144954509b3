"""The console table (docs/console.md), row by row: a person changes something by hand, then xportal goes on (I10).

Every drive of these tests has two generations behind it, so that an older copy could be taken by mistake.
"""

from __future__ import annotations

import ast
import itertools
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.crash.conftest import Lab, make_lab
from tests.crash.console import Life
from tests.user import SECRET
from xportal.aws import compute, keys, network, tags
from xportal.aws.devices import DEVICE
from xportal.drive import plan as p
from xportal.drive.model import lock_name
from xportal.errors import AwsRefused, DriveForked, DriveInUse, MachineLost, SaveIncomplete
from xportal.machine.access import new_claim
from xportal.portal.access import login_for
from xportal.portal.prices import machine_cost
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware

ROOT = Path(__file__).parents[2]
HERE = "tests/crash/test_console.py"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A quick cloud."""
    disks = FileHardware(tmp_path_factory.mktemp("disks"))
    with Cloud(disks, settings=Settings(snapshot_seconds=0.1, profile_seconds=0.5), secret=SECRET) as started:
        yield started


@pytest.fixture(scope="module")
def lab(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all: clients are slow to make."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_lab(cloud, tmp_path_factory.mktemp("state"), patch)


@pytest.fixture
def life(lab: Lab) -> Iterator[Life]:
    """A drive of the test's own, at rest, with the records "one" and "two" of two lives."""
    life = Life(lab, f"console{next(_numbers)}")
    life.had_lives("one", "two")
    yield life
    lab.reachable = True
    lab.cloud.clear_faults()


# The table itself


def test_the_table_and_the_tests_agree() -> None:
    """Every row of the table names its tests, each exists, and there is no test without a row."""
    lines = (ROOT / "docs" / "console.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| by hand")]
    named = {name if "::" in name else f"{HERE}::{name}" for row in rows for name in _tests_of(row)}
    assert all(_tests_of(row) for row in rows)
    known = {f"{path}::{name}" for path in {test.split("::")[0] for test in named} for name in _tests_in(path)}
    assert named <= known
    own = {f"{HERE}::{name}" for name in _tests_in(HERE)} - {f"{HERE}::test_the_table_and_the_tests_agree"}
    assert own <= named


def _tests_of(row: str) -> list[str]:
    return re.findall(r"`([^`]*test_[^`]*)`", row.rsplit(" | ", maxsplit=1)[-1])


def _tests_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


# The machine


def test_machine_terminated(life: Life) -> None:
    """Its volume is saved before the next machine is launched."""
    life.end(life.awake("three"))
    life.comes_back("one", "two", "three")


def test_machine_terminated_while_starting(life: Life) -> None:
    """`up` says that it was ended, and the copy that nobody wrote to is no loss and no leak."""

    def end() -> None:
        [machine] = life.observed.machines
        compute.terminate_instance(life.lab.aws, machine)

    with life.around("after-call", end), pytest.raises(AwsRefused, match="UserInitiatedShutdown"):
        life.lab.up(life.drive)
    life.comes_back("one", "two")


def test_machine_terminated_while_saving(life: Life) -> None:
    """`down` goes on with its volume."""
    machine = life.awake("three")
    life.lab.reachable = False  # as the agent's host is going away
    life.end(machine)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_machine_stopped(life: Life) -> None:
    """A stopped machine, whatever became of its type, is ended and its volume saved: containers come back elsewhere."""
    machine = life.awake("three", on_demand=True)
    life.stop(machine)
    life.ec2.modify_instance_attribute(InstanceId=machine.id, InstanceType={"Value": "m5.large"})
    life.comes_back("one", "two", "three")
    assert life.machine(machine).state == "terminated"


def test_machine_with_termination_protection(life: Life) -> None:
    """`down` saves, says what keeps the machine alive, and goes on once that is switched off."""
    machine = life.awake("three", on_demand=True)
    life.ec2.modify_instance_attribute(InstanceId=machine.id, DisableApiTermination={"Value": True})
    with pytest.raises(SaveIncomplete, match=f"{machine.id} cannot be ended") as caught:
        life.lab.down(life.drive)
    assert "--no-disable-api-termination" in caught.value.hint
    assert machine.id in caught.value.billed[0]
    life.ec2.modify_instance_attribute(InstanceId=machine.id, DisableApiTermination={"Value": False})
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_machine_copied_with_its_tags(life: Life) -> None:
    """ "Launch more like this" copies the tags: the machine that has the drive is the portal, `down` ends both."""
    machine = life.awake("three")
    copy = life.stranger(machine.zone, **machine.tags)
    life.goes_on_with(machine)
    life.goes_down()
    assert life.machine(copy).state == "terminated"
    life.comes_back("one", "two", "three")


def test_spot_request_cancelled(life: Life) -> None:
    """It has done its work: the machine goes on."""
    machine = life.awake("three")
    requests = life.ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    [mine] = [r["SpotInstanceRequestId"] for r in requests if r.get("InstanceId") == machine.id]
    life.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[mine])
    life.goes_on_with(machine)
    life.goes_down()


def test_image_made_of_the_machine(life: Life) -> None:
    """What AWS snapshots for an image is the image's, though the console tags it with the machine's Name."""
    machine = life.awake("three")
    for volume in machine.disks.values():  # a STAND-IN for CreateImage: AWS's own description, the console's tags
        life.snapshot(volume, f"Created by CreateImage({machine.id}) for ami-0abc", Name=life.drive)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_machine_lost_its_drive_tag(life: Life) -> None:
    """It is taken for a stranger that has the volume: nothing is touched, and the tag that is missing is named."""
    machine = life.awake("three")
    life.untag(machine.id, "drive")
    for goal in (life.lab.up, life.lab.down):
        life.refuses(goal, DriveInUse, machine.id)
    life.tag(machine.id, drive=life.drive)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_machine_lost_its_other_tags(life: Life) -> None:
    """The drive's tag is enough: without those of portal, launch and price the machine is found, used and ended."""
    machine = life.awake("three")
    life.untag(machine.id, "portal", "launch", "price", "name")
    found = life.lab.up(life.drive)
    assert found.id == machine.id
    assert "spot" in machine_cost(found)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_machine_of_another_portal_by_its_tag(life: Life) -> None:
    """An edited portal tag is believed: it is refused to the one, and the other brings it down."""
    machine = life.awake("three")
    life.tag(machine.id, portal="other", price="cheap")
    life.refuses(life.lab.down, DriveInUse, "other")
    assert "spot" in machine_cost(life.machine(machine))
    life.tag(machine.id, portal=life.drive)
    life.goes_down()


def test_machine_lost_its_host_key(life: Life, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From another computer nothing is sent to it: its key is unknown. `down` shuts it down and saves the volume."""
    machine = life.awake("three")
    life.untag(machine.id, "host_key")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        with pytest.raises(MachineLost, match="host-key"):
            login_for(life.lab.aws, life.machine(machine))
    life.lab.reachable = False
    life.goes_down()
    life.lab.reachable = True
    life.comes_back("one", "two", "three")


# The volume, awake


@pytest.mark.parametrize("force", [False, True])
def test_volume_detached(life: Life, force: bool) -> None:
    """The machine without its drive is of no use: the volume is saved, the machine ended, another launched."""
    machine = life.awake("three")
    life.detach(machine.disks[DEVICE], force=force)
    life.comes_back("one", "two", "three")
    assert life.machine(machine).state == "terminated"


def test_volume_at_another_device(life: Life) -> None:
    """Put back at another place it is not used there; the machine is ended and the volume saved."""
    machine = life.awake("three")
    life.detach(machine.disks[DEVICE])
    life.attach(machine.disks[DEVICE], machine, "/dev/sdp")
    life.comes_back("one", "two", "three")


def test_volume_on_another_machine(life: Life) -> None:
    """Whoever has it may be writing: nothing is launched from an older copy until it is detached."""
    machine = life.awake("three")
    life.detach(machine.disks[DEVICE])
    rescue = life.stranger(machine.zone)
    life.attach(machine.disks[DEVICE], rescue)
    for goal in (life.lab.up, life.lab.down):
        life.refuses(goal, DriveInUse, rescue.id)
    life.lab.append(machine.disks[DEVICE], "written there")
    life.detach(machine.disks[DEVICE])
    life.comes_back("one", "two", "three", "written there")
    compute.terminate_instance(life.lab.aws, rescue.id)


def test_volume_deleted_while_awake(life: Life) -> None:
    """CANNOT BE HELPED: what was written since the newest snapshot is gone; `up` goes on from that one."""
    machine = life.awake("three")
    life.lab.save(life.drive)
    life.lab.write(machine, "four")
    life.detach(machine.disks[DEVICE])
    life.ec2.delete_volume(VolumeId=machine.disks[DEVICE])
    life.comes_back("one", "two", "three")
    assert life.machine(machine).state == "terminated"


def test_volume_resized(life: Life) -> None:
    """A volume grown by hand stays so; the filesystem is grown at the next `up`."""
    machine = life.awake("three")
    life.ec2.modify_volume(VolumeId=machine.disks[DEVICE], Size=60)
    life.goes_down()
    assert life.observed.snapshots[-1].size_gib == 60
    again = life.lab.up(life.drive)
    assert life.volume(again.disks[DEVICE]).size_gib == 60
    life.goes_down()


def test_delete_on_termination_switched_on(life: Life) -> None:
    """`down` and an `up` that finds the machine switch it off before anything else."""
    machine = life.awake("three")
    life.switch_delete_on_termination(machine)
    life.goes_on_with(machine)
    assert not life.volume(machine.disks[DEVICE]).delete_on_termination
    life.switch_delete_on_termination(machine)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_delete_on_termination_and_terminated(life: Life) -> None:
    """CANNOT BE HELPED: AWS deletes the volume with the machine; `up` goes on from the newest snapshot."""
    machine = life.awake("three")
    life.switch_delete_on_termination(machine)
    life.end(machine)
    life.comes_back("one", "two")


def test_snapshot_by_hand_while_awake(life: Life) -> None:
    """A copy of that moment, with or without Name; the volume is newer, and its final save comes after."""
    machine = life.awake("three")
    life.snapshot(machine.disks[DEVICE], Name=life.drive)
    life.snapshot(machine.disks[DEVICE])
    life.lab.write(machine, "four")
    life.goes_down()
    life.comes_back("one", "two", "three", "four")


@pytest.mark.parametrize("keys", [("drive",), ()])
def test_volume_lost_its_tags_while_awake(life: Life, keys: tuple[str, ...]) -> None:
    """What is at the drive's device of its machine is the drive: it gets its tags back before it is detached."""
    machine = life.awake("three")
    life.untag(machine.disks[DEVICE], *keys)
    life.goes_down()
    assert machine.disks[DEVICE] not in {v.id for v in life.lab.volumes()}
    life.comes_back("one", "two", "three")


@pytest.mark.parametrize("told", ["1", "many", "9"])
def test_generation_of_volume_edited(life: Life, told: str) -> None:
    """It never puts the volume behind the snapshot it was made from."""
    machine = life.awake("three")
    life.tag(machine.disks[DEVICE], generation=told)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_drive_tag_of_volume_edited(life: Life) -> None:
    """While it is at its machine, that tells; afterwards the tag is believed: it is the other drive's."""
    machine = life.awake("three")
    life.tag(machine.disks[DEVICE], drive=f"{life.drive}-other")
    life.goes_down()
    life.comes_back("one", "two", "three")


# The volume, its machine gone


def test_volume_left_and_deleted(life: Life) -> None:
    """CANNOT BE HELPED: it held what no snapshot has; `up` goes on from the newest snapshot."""
    life.ec2.delete_volume(VolumeId=life.machine_gone("three"))
    life.comes_back("one", "two")


def test_volume_rescued_and_deleted(life: Life) -> None:
    """xdrive's way: a snapshot by hand with the drive's Name, then the volume is deleted. `up` says what it takes."""
    volume = life.machine_gone("three")
    rescued = life.snapshot(volume, Name=life.drive)
    life.ec2.delete_volume(VolumeId=volume)
    said = life.comes_back("one", "two", "three")
    assert any(rescued in line and "by hand" in line for line in said)


def test_volume_rescued_without_name(life: Life) -> None:
    """A snapshot without the Name is nobody's: as long as the volume is there it is saved again."""
    life.snapshot(life.machine_gone("three"))
    life.comes_back("one", "two", "three")


def test_volume_left_with_a_stranger(life: Life) -> None:
    """Attached elsewhere: refused. Detached again: what was written there is the newest data."""
    machine = life.awake("three")
    life.end(machine)
    rescue = life.stranger(machine.zone)
    life.attach(machine.disks[DEVICE], rescue)
    for goal in (life.lab.up, life.lab.down):
        life.refuses(goal, DriveInUse, rescue.id)
    life.lab.append(machine.disks[DEVICE], "repaired")
    life.end(rescue)
    life.comes_back("one", "two", "three", "repaired")


def test_volume_left_lost_its_drive_tag(life: Life) -> None:
    """Name and generation, and xportal's own tag, tell it."""
    life.untag(life.machine_gone("three"), "drive")
    life.comes_back("one", "two", "three")


def test_volume_left_lost_all_tags(life: Life) -> None:
    """CANNOT BE HELPED but said: it might be anybody's. A snapshot of it with the Name can be chosen."""
    volume = life.machine_gone("three")
    life.untag(volume)
    said = life.comes_back("one", "two")
    assert any(volume in line and "left alone" in line for line in said)
    life.chooses(life.snapshot(volume, Name=life.drive))
    life.comes_back("one", "two", "three")
    life.ec2.delete_volume(VolumeId=volume)


# The volume, being saved


def test_saved_volume_deleted(life: Life) -> None:
    """Before its snapshot is complete: `up` waits for that."""
    volume, _ = life.saving("three")
    life.ec2.delete_volume(VolumeId=volume)
    life.lab.cloud.clear_faults()
    life.comes_back("one", "two", "three")


def test_saved_volume_with_a_stranger(life: Life) -> None:
    """Nothing is deleted while somebody has it."""
    volume, _ = life.saving("three")
    life.lab.cloud.clear_faults()
    rescue = life.stranger(life.volume(volume).zone)
    life.attach(volume, rescue)
    for goal in (life.lab.up, life.lab.down):
        life.refuses(goal, DriveInUse, rescue.id)
    life.end(rescue)
    life.comes_back("one", "two", "three")


def test_pending_snapshot_deleted(life: Life) -> None:
    """AWS deletes it once it is complete; the volume is saved again before it goes."""
    volume, pending = life.saving("three")
    life.ec2.delete_snapshot(SnapshotId=pending.id)
    life.lab.cloud.clear_faults()
    life.wait(lambda: pending.id not in {s.id for s in life.observed.snapshots})
    life.comes_back("one", "two", "three")
    assert not [v for v in life.lab.volumes() if v.id == volume]


def test_snapshot_lost_its_tags_while_pending(life: Life) -> None:
    """It is known by its description, but permits no deletion: the volume is saved once more."""
    _, pending = life.saving("three")
    life.untag(pending.id)
    life.lab.cloud.clear_faults()
    life.comes_back("one", "two", "three")


# Volumes made by hand


def test_name_on_a_strangers_volume(life: Life) -> None:
    """It is neither saved nor deleted, and `up` says that it leaves it alone."""
    volume = life.make_volume(life.newest.id, Name=life.drive)
    said = life.comes_back("one", "two")
    assert any(volume in line and "left alone" in line for line in said)
    assert life.volume(volume).state == "available"
    life.ec2.delete_volume(VolumeId=volume)


def test_volume_made_of_an_old_snapshot(life: Life) -> None:
    """With the drive's tag it counts by what it was made from: older than the newest it is saved, and passed over."""
    oldest = life.observed.snapshots[0]
    life.at_rest("three")
    volume = life.make_volume(oldest.id, **{tags.DRIVE: life.drive})
    life.lab.append(volume, "of old")
    life.comes_back("one", "two", "three")
    [saved] = [s for s in life.observed.snapshots if s.volume_id == volume]
    assert life.lab.bytes_of(saved.id) == ["one", "of old"]


def test_volume_made_of_the_newest_snapshot(life: Life) -> None:
    """With the drive's tag it is the next generation: `up` goes on from it."""
    volume = life.make_volume(life.newest.id, **life.newest.tags)
    life.lab.append(volume, "by hand")
    life.comes_back("one", "two", "by hand")


def test_two_volumes_made_by_hand(life: Life) -> None:
    """A fork: nothing is chosen, nothing deleted, both are named."""
    volumes = [life.make_volume(life.newest.id, **life.newest.tags) for _ in range(2)]
    life.refuses(life.lab.up, DriveForked, ".*".join(sorted(volumes)))
    life.lab.append(volumes[0], "chosen")
    life.lab.lifecycle(life.drive, new_claim()).settle(p.Goal.RESTORE, choice=volumes[0])
    life.comes_back("one", "two", "chosen")


# Snapshots


def test_newest_snapshot_deleted(life: Life) -> None:
    """The one before it is the newest."""
    life.ec2.delete_snapshot(SnapshotId=life.newest.id)
    life.comes_back("one")


def test_older_snapshot_deleted(life: Life) -> None:
    """Each snapshot is whole without the others; the numbers of the generations do not start again."""
    life.ec2.delete_snapshot(SnapshotId=life.observed.snapshots[0].id)
    life.comes_back("one", "two")
    assert life.observed.next_generation() == 4


def test_all_snapshots_deleted(life: Life) -> None:
    """The drive is gone: `up` says that it makes a new one."""
    for snapshot in life.observed.snapshots:
        life.ec2.delete_snapshot(SnapshotId=snapshot.id)
    said = life.comes_back()
    assert any("new" in line for line in said)


def test_snapshot_deleted_while_starting(life: Life) -> None:
    """AWS refuses the launch, nothing is left, and the next `up` takes the one before."""
    with (
        life.around("before-call", lambda: life.ec2.delete_snapshot(SnapshotId=life.newest.id)),
        pytest.raises(AwsRefused, match=life.newest.id),
    ):
        life.lab.up(life.drive)
    assert (life.observed.lock, life.observed.volumes) == (None, ())
    life.comes_back("one")


def test_snapshots_lost_their_tags(life: Life) -> None:
    """Their descriptions, which nobody can edit, tell whose they are and in which order."""
    for snapshot in life.observed.snapshots:
        life.untag(snapshot.id)
    life.comes_back("one", "two")


@pytest.mark.parametrize("told", ["1", "many"])
def test_generation_of_snapshot_lowered(life: Life, told: str) -> None:
    """It is as new as it was made."""
    life.tag(life.newest.id, generation=told)
    life.comes_back("one", "two")


def test_generation_of_snapshot_raised(life: Life) -> None:
    """It says that it is the newest, and no `up` led to it: the user chooses; the others stay."""
    life.tag(life.observed.snapshots[0].id, generation="7")
    life.chooses(life.observed.snapshots[0].id)
    life.comes_back("one")
    assert life.observed.next_generation() == 10


def test_name_of_snapshot_edited(life: Life) -> None:
    """It stays the drive's; under its new Name it is another drive's as well, and each goes its own way."""
    life.tag(life.newest.id, name=f"{life.drive}-kept")
    other = Life(life.lab, f"{life.drive}-kept")
    other.comes_back("one", "two")
    life.comes_back("one", "two")


def test_checkpoint_tagged_as_final(life: Life) -> None:
    """A snapshot made while the work went on permits no deletion, whatever its tag says."""
    machine = life.awake("three")
    life.lab.save(life.drive)
    life.tag(life.observed.snapshots[-1].id, kind=tags.FINAL)
    life.lab.write(machine, "four")
    life.goes_on_with(machine)
    life.goes_down()
    life.comes_back("one", "two", "three", "four")


def test_strangers_snapshot_with_the_name(life: Life) -> None:
    """The Name is how a copy is brought in by hand, and anybody's machine can forge it: the user chooses."""
    other = Life(life.lab, f"{life.drive}-other")
    other.awake("stranger")
    foreign = life.snapshot(next(iter(other.observed.volumes)).id, Name=life.drive)
    other.goes_down()
    life.chooses(foreign)
    said = life.comes_back("stranger")
    assert any(foreign in line and "by hand" in line for line in said)
    assert len(life.observed.snapshots) == 4


def _is_past(second: int) -> bool:
    return int(time.time()) > second


def test_untagged_snapshots_of_xdrive(life: Life) -> None:
    """With a Name alone they follow each other by time, and the first `up` goes on from the newest."""
    old = Life(life.lab, f"{life.drive}-x")
    volume = life.make_volume(life.observed.snapshots[0].id)
    for record in ("x1", "x2"):
        life.lab.append(volume, record)
        old.snapshot(volume, Name=old.drive)
        made = int(time.time())
        life.wait(partial(_is_past, made))  # StartTimes have seconds
    life.ec2.delete_volume(VolumeId=volume)
    old.comes_back("one", "x1", "x2")


# The lock


def test_lock_deleted_while_awake(life: Life) -> None:
    """The machine is as good as the lock: `up` uses it, `down` ends it."""
    machine = life.awake("three")
    keys.delete_key_pair(life.lab.aws, life.lock.id)
    life.goes_on_with(machine)
    life.goes_down()
    life.comes_back("one", "two", "three")


def test_lock_deleted_while_starting(life: Life) -> None:
    """Before the launch or after it: the holder notices, ends what it launched, and leaves nothing."""
    for when in ("before-call", "after-call"):
        with (
            life.around(when, lambda: keys.delete_key_pair(life.lab.aws, life.lock.id)),
            pytest.raises(DriveInUse, match="taken away"),
        ):
            life.lab.up(life.drive)
        assert life.observed.volumes == ()
        assert life.observed.live_machine() is None
    life.comes_back("one", "two")


def test_lock_deleted_while_saving(life: Life) -> None:
    """Another `up` takes it, waits for the snapshot and goes on."""
    life.saving("three")
    keys.delete_key_pair(life.lab.aws, life.lock.id)
    life.lab.cloud.clear_faults()
    life.comes_back("one", "two", "three")


def test_lock_made_again_by_hand(life: Life) -> None:
    """A key pair of that name is nobody's lock: `down` leaves it alone, a launch is refused until it is gone."""
    life.awake("three")
    keys.delete_key_pair(life.lab.aws, life.lock.id)
    life.ec2.create_key_pair(KeyName=lock_name(life.drive))
    left = life.lab.down(life.drive)
    assert left.volumes == ()
    life.refuses(life.lab.up, DriveInUse, "key pair")
    keys.delete_key_pair(life.lab.aws, life.lock.id)
    life.comes_back("one", "two", "three")


def test_lock_lost_its_tags(life: Life) -> None:
    """Without the launch's it is nobody's, ten minutes after it was made; without xportal's it is a stranger's."""
    life.awake("three")
    life.untag(life.lock.id, "launch", "holder", "heartbeat")
    life.goes_down_by_and_by()
    life.comes_back("one", "two", "three")


@pytest.mark.parametrize("told", ["yesterday", "2099-01-01T00:00:00+00:00"])
def test_heartbeat_edited(life: Life, told: str) -> None:
    """What cannot be is not believed: an `up` that died is taken over ten minutes after it took the lock."""
    life.hold_lock(heartbeat=told)
    life.refuses(life.lab.up, DriveInUse, "ann@desk")
    with life.later():
        life.comes_back("one", "two")


# The network


def test_rule_removed(life: Life) -> None:
    """Whoever logs in lets this computer's address in again."""
    machine = life.awake()
    group = life.group(machine)
    life.ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    assert life.group(machine)["IpPermissions"] == []
    login_for(life.lab.aws, machine)
    assert life.group(machine)["IpPermissions"] == group["IpPermissions"]
    life.goes_down()


def test_rule_added(life: Life) -> None:
    """A rule of somebody's own stays."""
    machine = life.awake()
    network.allow_ssh(life.lab.aws, life.group(machine)["GroupId"], "198.51.100.7/32", "somebody: by hand")
    login_for(life.lab.aws, machine)
    ranges = [r["CidrIp"] for rule in life.group(machine)["IpPermissions"] for r in rule["IpRanges"]]
    assert "198.51.100.7/32" in ranges
    life.goes_down()


def test_group_deleted(life: Life) -> None:
    """AWS refuses that while a machine uses it; afterwards the next `up` makes another."""
    machine = life.awake()
    group = life.group(machine)["GroupId"]
    assert not network.delete_security_group(life.lab.aws, group)
    life.goes_down()
    assert network.delete_security_group(life.lab.aws, group)
    assert life.group(life.awake())["GroupId"] != group
    life.goes_down()
