"""Calls at the same time: one lock around the API, never held while the hardware works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.conftest import Account
from tests.user import SECRET
from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware import Addresses, Boot
from xportal.sandbox.hardware.files import FileHardware


class SlowHardware(FileHardware):
    """Snapshots and boots take until they are allowed to end."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def _work(self) -> None:
        self.begun.set()
        assert self.may_end.wait(10), "nobody allowed the work to end"

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        self._work()
        return super().create_snapshot(snapshot_id, volume_id)

    def boot(self, boot: Boot) -> Addresses:
        self._work()
        return super().boot(boot)


@pytest.fixture
def slow(tmp_path: Path, settings: Settings) -> Iterator[tuple[Account, SlowHardware]]:
    """An account on slow hardware; at the end all work may end."""
    hardware = SlowHardware(tmp_path)
    with Cloud(hardware, settings=settings, secret=SECRET) as cloud:
        yield Account(cloud, hardware), hardware
        hardware.may_end.set()


def test_others_are_answered_while_a_snapshot_is_taken(slow: tuple[Account, SlowHardware]) -> None:
    """While CreateSnapshot waits for the hardware other calls go on, and see it pending at 0%."""
    account, hardware = slow
    volume = account.make_volume()
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(account.ec2.create_snapshot, VolumeId=volume)
        assert hardware.begun.wait(10)
        seen = account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert [(s["State"], s["Progress"]) for s in seen] == [("pending", "0%")]
        assert not taking.done()
        hardware.may_end.set()
        assert taking.result(10)["SnapshotId"] == seen[0]["SnapshotId"]


def test_others_are_answered_while_a_machine_boots(slow: tuple[Account, SlowHardware]) -> None:
    """While a machine boots it is pending for everybody, and a second one can be launched."""
    account, hardware = slow
    first = account.launch()["InstanceId"]
    assert hardware.begun.wait(10)
    account.launch()
    assert account.instance(first)["State"]["Name"] == "pending"
    hardware.may_end.set()
    account.wait_instance(first, "running")


def test_of_racing_launches_with_one_token_one_launches(account: Account) -> None:
    """Eight launches at once with one ClientToken give one instance."""
    image = account.image_id
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: account.launch(ClientToken="one", ImageId=image)["InstanceId"], range(8)))
    assert len(set(made)) == 1
    assert len(account.all_instances()) == 1
