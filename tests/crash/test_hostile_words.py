"""Every word that xportal reads, chosen by somebody who means harm: it is shown, or it is nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import Lab, make_lab
from tests.crash.hostile import HOST_KEY, HostileHost, Said, Touched, Words, typed
from xportal.aws import compute, keys, storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.errors import AwsError
from xportal.aws.tagging import set_tags
from xportal.drive.model import lock_name
from xportal.drive.observe import observe
from xportal.sandbox.api.server import Cloud

CASES = 2000
READING = [
    ("status",),
    ("--json", "status"),
    ("status", "demo"),
    ("--json", "status", "demo"),
    ("drives",),
    ("--json", "drives"),
    ("drives", "history", "demo"),
    ("drives", "history", "rest"),
    ("--json", "drives", "history", "demo"),
    ("up", "demo", "--dry-run"),
    ("up", "rest", "--dry-run", "--json"),
    ("ps", "demo"),
    ("ssh-config", "demo", "--refresh", "xportal-demo"),
    ("rehearse", "demo"),
    ("save", "demo"),
    ("up", "demo"),
]
ON_MACHINES = (
    tags.PORTAL,
    tags.DRIVE,
    tags.LAUNCH,
    tags.PRICE,
    tags.METER,
    tags.AWAITS,
    tags.ENDING,
    tags.REPLACED,
    tags.HOST_KEY,
    tags.REMEMBERED,
)
ON_VOLUMES = (
    tags.REMEMBERED,
    tags.NAME,
    tags.DRIVE,
    tags.GENERATION,
    tags.LAUNCH,
    tags.RESTORED,
    tags.ENDED,
    tags.ARCHITECTURE,
)
ON_SNAPSHOTS = (*ON_VOLUMES, tags.KIND, tags.SAVE, tags.ROLLING, tags.SET)
ON_LOCKS = (tags.DRIVE, tags.PORTAL, tags.LAUNCH, tags.HOLDER, tags.HEARTBEAT)
_seeds = itertools.count()


class Account:
    """An account whose every tag and description is somebody else's: a portal that is up, a drive at rest."""

    def __init__(self, lab: Lab, words: Words, home: Path) -> None:
        self.lab = lab
        self.words = words
        self.machine = lab.up("demo", size_gib=1)
        lab.up("rest", size_gib=1)
        lab.down("rest")
        self.rest = observe(lab.aws, "rest").snapshots[0].id
        volume = self.machine.disks[DEVICE]
        self.own = [lab.aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"] for _ in range(5)]
        self.lock = keys.import_key_pair(lab.aws, lock_name("cut"), HOST_KEY.encode(), {}) or ""
        self.kept = {self.machine.id: self.machine.tags, **{s: self._tags(s) for s in (self.rest, *self.own)}}
        self.precious = home.parents[1] / "Documents" / "thesis"
        self.precious.parent.mkdir()
        self.precious.write_text("years of work")
        self.touched = Touched((home, lab.hardware.directory))  # the cloud is in this process, too

    def _tags(self, snapshot: str) -> dict[str, str]:
        [found] = self.lab.aws.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
        return tags.from_aws(found.get("Tags"))

    def speak(self) -> None:
        """New words everywhere. Some stay as they were, or most would hide what they are on."""
        for resource, names in (
            (self.machine.id, ON_MACHINES),
            (self.machine.disks[DEVICE], ON_VOLUMES),
            (self.rest, ON_SNAPSHOTS),
            *((snapshot, ON_SNAPSHOTS) for snapshot in self.own),
            (self.lock, ON_LOCKS),
        ):
            kept = self.kept.get(resource, {})
            told = {name: self._word(name, kept) for name in names}
            with suppress(AwsError):  # what a command has ended or deleted has no words any more
                set_tags(self.lab.aws, resource, told)
        self._describe()

    def _word(self, name: str, kept: Any) -> str:
        stays = {tags.PORTAL: 0.9, tags.DRIVE: 0.7, tags.HOST_KEY: 0.7, tags.NAME: 0.5, tags.GENERATION: 0.4}.get(
            name, 0.2
        )
        usual = kept.get(name, "")
        return usual if self.words.random.random() < stays else self.words.tag()

    def _describe(self) -> None:
        """FAKE: descriptions are edited, where AWS has them made anew."""
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.ec2.models import ec2_backends

        snapshots = ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].snapshots
        for snapshot in {self.rest, *self.own} & snapshots.keys():
            snapshots[snapshot].description = self.words.description()

    def type(self, *argv: str) -> Said:
        """A command, whose files are watched."""
        self.touched.watching = True
        try:
            return typed(*argv)
        finally:
            self.touched.watching = False


@pytest.fixture
def words() -> Words:
    """The same words in every run."""
    return Words(random.Random(next(_seeds)))


@pytest.fixture
def account(cloud: Cloud, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account that is this test's own, and a login that leads to a hostile machine."""
    home = tmp_path / "home" / ".local" / "state"
    lab = make_lab(cloud, home, monkeypatch, patience=500.0)
    monkeypatch.setattr("xportal.aws.session.connect", lambda **_: lab.aws)
    monkeypatch.setattr("xportal.portal.access.connect", lambda *_, **__: HostileHost(words))
    yield Account(lab, words, home)
    lab.cloud.clear_faults()
    reset(lab)


def reset(lab: Lab) -> None:
    """The next test begins with nothing."""
    ec2 = lab.aws.ec2
    for machine in compute.list_instances(lab.aws, []):
        if machine.state != "terminated":
            ec2.terminate_instances(InstanceIds=[machine.id])
            ec2.get_waiter("instance_terminated").wait(InstanceIds=[machine.id], WaiterConfig={"Delay": 1})
    for volume in storage.list_volumes(lab.aws, []):
        ec2.delete_volume(VolumeId=volume.id)
    for snapshot in storage.list_snapshots(lab.aws, []):
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot.id], WaiterConfig={"Delay": 1})
        ec2.delete_snapshot(SnapshotId=snapshot.id)
    for key in ec2.describe_key_pairs()["KeyPairs"]:
        ec2.delete_key_pair(KeyPairId=key["KeyPairId"])


def test_two_thousand_words(account: Account, words: Words, tmp_path: Path) -> None:
    """No traceback, no control character, no file touched outside our own directory: whatever the words are."""
    wrong: list[str] = []
    while words.count < CASES:
        account.speak()
        for argv in words.random.sample(READING, 4):
            wrong += account.type(*argv).wrong()
    assert not wrong, "\n".join(wrong[:3])
    assert not account.touched.wrong
    assert account.precious.read_text() == "years of work"


@pytest.mark.parametrize("life", range(4))
def test_commands_that_act(account: Account, life: int) -> None:
    """`sweep`, `down` and `up` among such words end as they promise, and remove no file but our own."""
    wrong: list[str] = []
    for argv in (("sweep",), ("down", "demo"), ("up", "demo", "--cpu", "--size", "1"), ("sweep",)):
        account.speak()
        wrong += account.type(*argv).wrong()
    assert not wrong, "\n".join(wrong[:3])
    assert not account.touched.wrong
    assert account.precious.read_text() == "years of work"
